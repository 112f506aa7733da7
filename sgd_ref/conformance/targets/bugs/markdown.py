"""The report of a bug in Markdown, with the sections that projects ask for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sgd_ref.conformance.targets.bugs.bug import NOT_SEARCHED, Bug
from sgd_ref.conformance.targets.bugs.checking import Checked
from sgd_ref.conformance.targets.history.outcome import Outcome
from sgd_ref.conformance.targets.history.spans import affected, in_words

EXPECTED, ACTUAL = "expected:", "actual:"
"""The prefix of each line that a script prints."""


def markdown(
    bug: Bug, checked: Checked | None, asked: Sequence[tuple[str, Outcome]], requirements: Sequence[str]
) -> str:
    """Return the text of a report.

    Parameters
    ----------
    bug : Bug
        The bug to report.
    checked : Checked or None
        The result of its script; None if the script was not run.
    asked : sequence of (str, Outcome)
        The outcomes in several releases, the oldest first.
    requirements : sequence of str
        The packages that are installed for the script.
    """
    install = " ".join(f"'{one}'" if set(one) & set("<>") else one for one in requirements)
    parts = [
        f"# {bug.title}\n",
        "## Describe the bug\n",
        f"The documentation says: {bug.says} ({bug.source})\n",
        *_seen(checked),
        "## Code to reproduce\n",
        f"`pip install {install}`\n",
        f"```python\n{bug.script}```\n",
        *_printed(checked),
        *(("## Cause\n", f"{bug.cause}\n") if bug.cause else ()),
        "## Versions\n",
        *_versions(checked, asked),
        "## Other threads\n",
        *_searched(bug),
    ]
    return "\n".join(parts)


def _seen(checked: Checked | None) -> Iterator[str]:
    if checked is None:
        return
    for heading, beginning in (("Expected", EXPECTED), ("Actual", ACTUAL)):
        lines = [line for line in checked.printed.splitlines() if line.startswith(beginning)]
        yield from (f"{heading}: `{line.removeprefix(beginning).strip()}`\n" for line in lines)


def _printed(checked: Checked | None) -> Iterator[str]:
    if checked is None:
        yield "The script was not run.\n"
        return
    yield "It prints:\n"
    yield f"```text\n{checked.printed}\n```\n"


def _versions(checked: Checked | None, asked: Sequence[tuple[str, Outcome]]) -> Iterator[str]:
    if checked is not None:
        yield f"{', '.join(f'{name} {version}' for name, version in checked.versions.items())}.\n"
    if asked:
        releases = ", ".join(affected(asked)) or "none"
        yield f"Releases that were asked and have it: {releases}. In short: {in_words(asked)}.\n"


def _searched(bug: Bug) -> Iterator[str]:
    queries = "; ".join(f'"{query}"' for query in bug.queries)
    if bug.state == NOT_SEARCHED:
        yield f"Not searched. A query for it: {queries}.\n"
        return
    yield f"{bug.state.capitalize()}. Searched the tracker for: {queries}.\n"
    if bug.threads:
        yield "".join(f"- {thread}\n" for thread in bug.threads)
    if bug.mended_in:
        yield f"Mended in {bug.mended_in}.\n"
