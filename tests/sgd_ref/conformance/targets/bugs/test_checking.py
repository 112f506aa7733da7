"""What scripts do is kept beside what others did."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sgd_ref.conformance.targets.bugs import checking
from sgd_ref.conformance.targets.bugs.bug import bugs
from sgd_ref.conformance.targets.bugs.checking import Checked, checked, keep, kept


def answers(scripts: Mapping[str, str]) -> dict[str, Any]:
    told = {
        name: {"ended": "differs", "said": f"expected: {len(text)}\n", "error": ""}
        for name, text in scripts.items()
    }
    return {"versions": {"mine": "1.0"}, "answers": told}


def test_each_script_is_run_by_the_name_of_its_bug() -> None:
    chosen = bugs()[:2]
    done = checked(chosen, answers)
    assert set(done) == {bug.name for bug in chosen}
    one = done[chosen[0].name]
    assert one == Checked("differs", f"expected: {len(chosen[0].script)}", {"mine": "1.0"})
    assert one.shows_the_bug


@pytest.mark.parametrize("ended", ["equal", "fails"])
def test_other_ends_do_not_show_a_bug(ended: str) -> None:
    assert not Checked(ended, "").shows_the_bug


def test_what_is_new_replaces_what_was_kept_of_the_same_bug(tmp_path: Path) -> None:
    assert kept(tmp_path) == {}
    keep({"b": Checked("differs", "1"), "a": Checked("fails", "2")}, tmp_path)
    keep({"a": Checked("equal", "3", {"mine": "1.0"})}, tmp_path)
    assert kept(tmp_path) == {"a": Checked("equal", "3", {"mine": "1.0"}), "b": Checked("differs", "1")}


@pytest.mark.parametrize(
    "text", ["{}", '{"format": 2, "checked": {}}', '{"format": 1, "checked": {"a": {}}}']
)
def test_malformed_files_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / checking.FILE).write_text(text)
    with pytest.raises(ValueError, match="holds nothing that was checked"):
        kept(tmp_path)


def test_what_is_kept_is_of_bugs() -> None:
    assert set(kept()) <= {bug.name for bug in bugs()}
