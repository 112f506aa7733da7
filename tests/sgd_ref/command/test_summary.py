"""``sgd-ref summary``: the page goes to standard output, the badge to a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sgd_ref.base.installing import project_url
from sgd_ref.command import main as cli
from sgd_ref.command.options import AS_EXPECTED, WRONG_USAGE

RUN = {
    "name": "mine",
    "as_expected": False,
    "unproven_claims": [],
    "verdicts": [{"case": "axes/plain", "grade": "diverges", "names": ["ascends"]}],
}


def test_page_and_badge(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report, badge = tmp_path / "report.json", tmp_path / "badge.json"
    report.write_text(json.dumps({"runs": [RUN]}))
    assert cli.main(["summary", str(report), "--badge", str(badge)]) == AS_EXPECTED
    page = capsys.readouterr().out
    assert page.startswith("### SGD: NOT as expected\n")
    assert "| `ascends` | 1 | `axes/plain` |" in page
    assert f"({project_url()})" in page
    assert json.loads(badge.read_text())["color"] == "red"


@pytest.mark.parametrize("content", [None, "{}"])
def test_what_is_no_report_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None
) -> None:
    report = tmp_path / "report.json"
    if content is not None:
        report.write_text(content)
    with pytest.raises(SystemExit) as ended:
        cli.main(["summary", str(report)])
    assert ended.value.code == WRONG_USAGE
    assert f"REPORT must be a report as JSON, got {report}: " in capsys.readouterr().err
