"""The page of all bugs."""

from __future__ import annotations

from dataclasses import replace

from sgd_ref.conformance.targets.bugs.bug import bugs, folder
from sgd_ref.conformance.targets.bugs.checking import Checked, kept
from sgd_ref.conformance.targets.bugs.page import page

ONE, TWO = (replace(bug, project=f"owner/{name}") for bug, name in zip(bugs(), "ab", strict=False))


def row(text: str, name: str) -> str:
    return next(line for line in text.splitlines() if f"({name}.py)" in line)


def test_only_what_was_seen_is_counted() -> None:
    seen = {ONE.name: Checked("differs", ""), TWO.name: Checked("fails", "")}
    text = page([ONE, TWO], seen)
    assert "1 bugs of 1 projects were seen" in text
    assert f"| {ONE.release} |" in row(text, ONE.name)
    assert f"not seen with {TWO.release}: fails" in row(text, TWO.name)
    assert "| not run |" in row(page([ONE], {}), ONE.name)


def test_states() -> None:
    thread = "https://github.com/owner/a/issues/7"
    known = replace(ONE, state="known", threads=(thread,))
    assert f"known ([owner/a#7]({thread}))" in page([known], {})
    new = replace(ONE, state="new", threads=())
    assert "| new |" in page([new], {})
    assert f"new; near it: [owner/a#7]({thread})" in page([replace(new, threads=(thread,))], {})
    mended = replace(known, state="mended", mended_in="2.0")
    assert "mended in 2.0" in page([mended], {})
    assert "| not searched |" in page([replace(new, state="not searched")], {})


def test_the_kept_page_is_that_of_the_kept_bugs() -> None:
    assert (folder() / "README.md").read_text(encoding="utf-8") == page(bugs(), kept())
