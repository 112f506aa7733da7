"""The README's examples run and print what it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

README = Path(__file__).parent.parent / "README.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 3


@pytest.mark.parametrize("position", range(len(EXAMPLES)))
def test_example_runs(position: int, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(EXAMPLES[position], f"README example {position}", "exec"), {})
    printed = capsys.readouterr().out
    expected = ("True\n", "True\n", "my loop: 44 of 319 cases graded; 16 exact, 25 rounding, 3 diverges")
    assert printed.startswith(expected[position])


def test_adapter_shows_its_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    namespace: dict[str, Any] = {}
    exec(compile(EXAMPLES[2], "README example 2", "exec"), namespace)
    report = namespace["report"]
    diverging = {name for name, verdict in report.verdicts.items() if verdict.grade == "diverges"}
    changing = "axes/momentum/callable"
    assert diverging == {changing, "exact/callable/float32", "exact/callable/float64"}
    assert report.count("error") == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in diverging)
    assert printed.count("it equals rate-outside-velocity\n") == len(diverging)
