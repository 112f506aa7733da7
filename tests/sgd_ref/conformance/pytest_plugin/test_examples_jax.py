"""The example for JAX on the page in sgd_ref/conformance/pytest_plugin, and the same with a mistake."""

from __future__ import annotations

from typing import Any

import pytest

RIGHT, WRONG = "v = momentum * v - rate * g", "v = momentum * v + rate * g"


@pytest.fixture
def text(example: Any) -> str:
    found: str = example("import jax")
    assert found.count(RIGHT) == 1
    return found


@pytest.mark.sweep
def test_it_passes(inner: Any, text: str) -> None:
    found = inner(text=text, alone=True)
    assert found.ret == pytest.ExitCode.OK
    outcomes = found.parseoutcomes()
    assert outcomes.keys() == {"passed", "skipped"}
    assert outcomes["passed"] >= 10


def test_a_mistake_is_named(inner: Any, text: str) -> None:
    found = inner("-k", "axes/momentum", text=text.replace(RIGHT, WRONG), alone=True)
    assert found.ret == pytest.ExitCode.TESTS_FAILED
    found.stdout.fnmatch_lines(["it equals ascends, *"])
