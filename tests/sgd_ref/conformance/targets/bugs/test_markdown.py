"""The report of a bug has what projects ask for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sgd_ref.conformance.targets.bugs.bug import Bug
from sgd_ref.conformance.targets.bugs.checking import Checked
from sgd_ref.conformance.targets.bugs.markdown import markdown
from sgd_ref.conformance.targets.history.outcome import Outcome

THREAD = "https://github.com/owner/mine/issues/1"

BUG = Bug(
    project="owner/mine",
    contradiction="ascends",
    targets=("mine",),
    release="1.1.0",
    title="It ascends",
    says='"it descends"',
    source="https://example.org",
    cause="mine/sgd.py, `step`: the sign",
    script="import mine\nassert False\n",
    state="new",
    queries=("mine ascends",),
    threads=(THREAD,),
    mended_in="",
)

CHECKED = Checked("differs", "expected: -1\nactual: 1", {"python": "3.11.7", "mine": "1.1.0"})

ASKED = [("1.0.0", Outcome("absent")), ("1.1.0", Outcome("there"))]


def test_a_report() -> None:
    text = markdown(BUG, CHECKED, ASKED, ["mine==1.1.0", "numpy<2"])
    assert text.startswith("# It ascends\n")
    assert 'The documentation says: "it descends" (https://example.org)' in text
    assert "Expected: `-1`\n\nActual: `1`\n" in text
    assert "`pip install mine==1.1.0 'numpy<2'`" in text
    assert "```python\nimport mine\nassert False\n```" in text
    assert "```text\nexpected: -1\nactual: 1\n```" in text
    assert "mine/sgd.py, `step`: the sign" in text
    assert "Releases that were asked and have it: 1.1.0." in text
    assert "not in 1.0.0; since 1.1.0" in text
    assert f'New. Searched the tracker for: "mine ascends".\n\n- {THREAD}\n' in text
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert len(headings) == len(set(headings)) == 5


def test_what_is_not_known_is_left_out() -> None:
    bare = replace(BUG, cause="", threads=(), state="not searched")
    text = markdown(bare, None, [], ["mine"])
    assert "The script was not run." in text
    assert "Cause" not in text
    assert "Expected" not in text
    assert 'Not searched. A query for it: "mine ascends".' in text


@pytest.mark.parametrize("mended", ["", "1.2.0"])
def test_where_it_was_mended(mended: str) -> None:
    text = markdown(replace(BUG, state="mended", mended_in=mended), CHECKED, ASKED, ["mine"])
    assert ("Mended in 1.2.0." in text) == bool(mended)
