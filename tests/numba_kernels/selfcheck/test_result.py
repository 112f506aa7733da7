"""The result of a check is the same however its cases are split into parts."""

from __future__ import annotations

import random

from numba_kernels.selfcheck.result import SHOWN, Result

TEXTS = [f"sizes/{'long/' * (n % 3)}{n}\n  call {9 - n}" for n in range(9)]


def result_of(texts: list[str]) -> Result:
    result = Result("sizes")
    for text in texts:
        result.differs(text)
    return result


def test_the_same_differences_are_shown_in_any_order_and_of_any_parts() -> None:
    whole = result_of(TEXTS)
    assert [text.partition("\n")[0] for text in whole.differences] == [
        *("sizes/0", "sizes/3", "sizes/6"),
        *("sizes/long/1", "sizes/long/4"),
    ]
    assert len(whole.differences) == SHOWN
    for seed in range(20):
        texts = random.Random(seed).sample(TEXTS, len(TEXTS))
        parts = Result("sizes")
        for start in range(0, len(texts), 4):
            parts.include(result_of(texts[start : start + 4]))
        assert parts == whole
