"""The page that lists the bugs to report, each with its state in the project's issue tracker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sgd_ref.conformance.targets.bugs.bug import KNOWN, MENDED, NEW, STATES, Bug
from sgd_ref.conformance.targets.bugs.checking import Checked

INTRODUCTION = """\
# Bugs to report

Contradictions of [the targets](../README.md) that can be reported to their projects. Each has a script of
about ten lines, which needs only the framework, and was run where nothing else is installed. These commands
print the report of one bug, list the bugs of a target, and run the scripts of a target anew:

    sgd-ref report-bug TARGET CONTRADICTION
    sgd-ref report-bug TARGET
    sgd-ref report-bug TARGET --check

The state of a bug says whether the project's threads mention it:
"""


def page(all_bugs: Sequence[Bug], kept: Mapping[str, Checked]) -> str:
    """Return the page in Markdown.

    Parameters
    ----------
    all_bugs : sequence of Bug
        The bugs, in the order of the rows.
    kept : mapping of str to Checked
        The results of the scripts, by the names of the bugs.
    """
    shown = [one for one in all_bugs if one.name in kept and kept[one.name].shows_the_bug]
    projects = {one.project for one in shown}
    states = ", ".join(f"{sum(one.state == state for one in shown)} {state}" for state in STATES)
    count = f"{len(shown)} bugs of {len(projects)} projects"
    lines = [
        INTRODUCTION,
        "".join(f"- *{state}*: {meaning}.\n" for state, meaning in STATES.items()),
        f"{count} were seen when the scripts were run last: {states}.\n",
        _table(
            ["project", "target", "contradiction", "what is wrong", "seen with", "state", "searched for"],
            [_row(one, kept.get(one.name)) for one in all_bugs],
        ),
    ]
    return "\n".join(lines)


def _row(one: Bug, checked: Checked | None) -> list[str]:
    script = f"[`{one.contradiction}`]({one.name}.py)"
    queries = "; ".join(one.queries)
    return [one.project, one.target, script, one.title, _seen(one, checked), _state(one), queries]


def _seen(one: Bug, checked: Checked | None) -> str:
    if checked is None:
        return "not run"
    return one.release if checked.shows_the_bug else f"not seen with {one.release}: {checked.ended}"


def _state(one: Bug) -> str:
    threads = ", ".join(f"[{_short(thread)}]({thread})" for thread in one.threads)
    if one.state == MENDED and one.mended_in:
        return f"mended in {one.mended_in} ({threads})"
    if one.state == NEW:
        return f"new; near it: {threads}" if threads else NEW
    return f"{one.state} ({threads})" if one.state in (KNOWN, MENDED) and threads else one.state


def _short(thread: str) -> str:
    """Return the text of the link to a thread.

    >>> _short("https://github.com/keras-team/keras/issues/1")
    'keras-team/keras#1'
    """
    owner, name, _, number = thread.rsplit("/", 4)[-4:]
    return f"{owner}/{name}#{number}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(map(_one_line, line))} |\n" for line in lines)


def _one_line(text: str) -> str:
    """Return a text in a form that a cell of a table can hold."""
    return " ".join(text.split()).replace("|", r"\|")
