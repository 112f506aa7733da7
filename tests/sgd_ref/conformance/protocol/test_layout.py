"""The layout of JSON files: another form of the same."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sgd_ref.conformance.protocol.layout import laid_out


@pytest.mark.parametrize(
    "value", [{"a": {}, "b": []}, {"a": [[1, 2], {"b": "c d"}]}, {"text": "é\n", "number": 1e-07}]
)
@pytest.mark.parametrize("levels", range(5))
def test_the_layout_is_json_that_says_the_same(value: Any, levels: int) -> None:
    text = laid_out(value, levels)
    assert json.loads(text) == value
    assert text.endswith(b"\n")
    assert b"\r" not in text


def test_numbers_that_json_has_not_are_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        laid_out({"a": float("nan")}, 2)
