"""The example for NumPy on the page in sgd_ref/conformance/pytest_plugin, red where the page says so."""

from __future__ import annotations

from typing import Any

import pytest


def test_it_passes(inner: Any, example: Any) -> None:
    found = inner("-W", "error", text=example("momentum = np.float32"))
    assert found.ret == pytest.ExitCode.OK
    outcomes = found.parseoutcomes()
    assert outcomes.keys() == {"passed", "skipped"}
    assert outcomes["passed"] >= 10


def test_the_mistake_that_the_page_describes_is_named(inner: Any, example: Any) -> None:
    text = example("momentum = np.float32")
    for old, new in (
        ("momentum * v - np.float32(case.rate(call)) * g", "momentum * v - g"),
        ("[w + v for", "[w + np.float32(case.rate(call)) * v for"),
        ('"momentum", ', '"momentum", "callable", '),
    ):
        assert old in text
        text = text.replace(old, new)
    found = inner(text=text)
    assert found.ret == pytest.ExitCode.TESTS_FAILED
    found.stdout.fnmatch_lines(
        [
            "*test_sgd[[]structure/calls-66/callable/momentum/float32]*",
            "it equals rate-outside-velocity",
            "  rate-outside-velocity: The velocity adds up gradients, and *",
            "first wrong value: call 1, variables of pair[[]0]: -5.25, where -3.75 is *",
        ]
    )
