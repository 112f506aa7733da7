"""The outcome of one contradiction in one release."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sgd_ref.validation import reject_value

THERE, OTHERWISE, ABSENT, FAILS = "there", "otherwise", "absent", "fails"

MEANINGS: Mapping[str, str] = {
    THERE: "the release contradicts the documentation, with the known bits",
    OTHERWISE: "the release contradicts the documentation, with other bits",
    ABSENT: "the release gives every expected bit",
    FAILS: "the release cannot run the case: it lacks a feature, or raises an error",
}
"""The meaning of each outcome, by its name."""

MARKS: Mapping[str, str] = {THERE: "x", OTHERWISE: "x*", ABSENT: "-", FAILS: "?"}
"""The mark of each outcome in a table."""

AFFECTED = frozenset({THERE, OTHERWISE})

SEEN_BEFORE = ", as it was seen before"
"""The mark behind each number in the output of a script that equals the number in the finding."""

LONGEST = 160


@dataclass(frozen=True)
class Outcome:
    """The outcome of a contradiction.

    Attributes
    ----------
    name : str
        A key of `MEANINGS`.
    detail : str
        The first difference, or the error; empty if nothing differs.
    """

    name: str
    detail: str = ""

    def __post_init__(self) -> None:
        if self.name not in MEANINGS:
            reject_value("name", self.name, f"one of {', '.join(MEANINGS)}")

    @property
    def is_affected(self) -> bool:
        """Whether the release contradicts the documentation."""
        return self.name in AFFECTED


def outcome_of(answer: Mapping[str, str], of_finding: bool) -> Outcome:
    """Return the outcome for an answer of ``several.py`` about one script.

    Parameters
    ----------
    answer : mapping of str to str
        The answer, with the keys "ended", "said" and "error".
    of_finding : bool
        Whether the script is that of a finding, which marks the numbers that were seen before.

    Examples
    --------
    >>> said = "call 0, variables of w[0]: expected 0, got 1, as it was seen before"
    >>> outcome_of({"ended": "differs", "said": said, "error": ""}, of_finding=True).name
    'there'
    >>> outcome_of({"ended": "fails", "said": "", "error": "TypeError: no use_ema"}, of_finding=True)
    Outcome(name='fails', detail='TypeError: no use_ema')
    """
    if answer["ended"] == "equal":
        return Outcome(ABSENT)
    if answer["ended"] == "fails":
        return Outcome(FAILS, _shortened(answer["error"]))
    lines = [line for line in answer["said"].splitlines() if line.strip()]
    detail = _shortened((lines or [answer["error"]])[0].removesuffix(SEEN_BEFORE))
    as_seen = not of_finding or all(line.endswith(SEEN_BEFORE) for line in lines)
    return Outcome(THERE if as_seen else OTHERWISE, detail)


def _shortened(text: str) -> str:
    # Error messages of frameworks may contain paragraphs of advice.
    line = " ".join((text.strip().splitlines() or [""])[0].split())
    return line if len(line) <= LONGEST else f"{line[:LONGEST]} ..."
