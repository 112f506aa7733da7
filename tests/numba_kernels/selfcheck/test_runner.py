"""The checks of a pool of processes: their results do not depend on which part ends first."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from numba_kernels.selfcheck import runner
from numba_kernels.selfcheck.result import Result
from numba_kernels.selfcheck.runner import Outcome


def part(number: int) -> Result:
    if number == 2:
        raise OSError("on purpose")
    result = Result("a", cases=1, seconds=10.0**-number)
    result.skips(f"reason {number}")
    result.differs(f"a/{number}")
    return result


def fails() -> Result:
    raise ValueError("too")


@pytest.mark.parametrize("is_reversed", [False, True])
def test_what_ends_first_changes_nothing(monkeypatch: pytest.MonkeyPatch, is_reversed: bool) -> None:
    def as_completed(futures: Iterable[Future[Any]]) -> list[Future[Any]]:
        return list(futures)[:: -1 if is_reversed else 1]

    monkeypatch.setattr(runner, "as_completed", as_completed)
    parts: runner.Parts = [*(("a", partial(part, number)) for number in range(5)), ("b", fails)]
    alone, pooled = Outcome([], []), Outcome([], [])
    advanced: list[int] = []
    runner.run_parts(parts, alone, None, lambda done: None)
    with ThreadPoolExecutor(1) as pool:
        runner.run_parts(parts, pooled, pool, advanced.append)
    assert pooled == alone
    assert pooled.not_run == ["a: OSError: on purpose", "b: ValueError: too"]
    assert list(pooled.results[0].reasons) == ["reason 0", "reason 1", "reason 3", "reason 4"]
    assert advanced == list(range(7))
