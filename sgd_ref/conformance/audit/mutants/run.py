"""The run over all mutants of the files that make up the definition, and its page."""

from __future__ import annotations

import argparse
import gc
import importlib.util
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sgd_ref.conformance import data_folder
from sgd_ref.conformance.audit.mutants.changes import Mutant, mutants_of
from sgd_ref.conformance.audit.mutants.equivalent import reason_for
from sgd_ref.conformance.audit.mutants.own_tests import TESTS, question_of
from sgd_ref.conformance.audit.mutants.reach import reach, reaching
from sgd_ref.conformance.audit.mutants.trial import Question, attempt, questions

MODULES = (
    "sgd_ref.rule",
    "sgd_ref.optimizer",
    "sgd_ref.norm",
    "sgd_ref.loss_scale",
    "sgd_ref.gradients",
    "sgd_ref.base.counting",
    "sgd_ref.schedules.base",
    "sgd_ref.schedules.cosine",
    "sgd_ref.schedules.decay",
    "sgd_ref.schedules.serialization",
    "sgd_ref.arithmetic.exact",
    "sgd_ref.arithmetic.formats",
    "sgd_ref.arithmetic.interval",
    "sgd_ref.arithmetic.rounded",
)
"""The modules whose mutants the golden files must expose: formulas, counts, rounding."""

PAGE = data_folder.folder() / "audit" / "mutants.md"


@dataclass(frozen=True)
class Tried:
    """A mutant, the entry that exposed it (empty if none did), and the reason if none can."""

    mutant: Mutant
    killer: str
    reason: str


def path_of(module: str) -> Path:
    """Return the file of a module.

    >>> path_of("sgd_ref.rule").name
    'rule.py'
    """
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ValueError(f"there is no module {module}")
    return Path(spec.origin)


def tried(modules: Iterable[str], asked: Sequence[Question]) -> Iterator[Tried]:
    """Yield the mutants of the modules with their outcomes.

    Only entries that reach the changed statement are tried, the last successful ones first: the mutants
    of one function are often exposed by the same entry. Some modules are tried with their own tests first.
    """
    paths = {module: path_of(module) for module in modules}
    reached = reach(asked, {str(path) for path in paths.values()})
    order = list(asked)
    gc.collect()
    gc.freeze()  # Forks share memory that is not changed.
    for module, path in paths.items():
        source = path.read_text(encoding="utf-8")
        own = [tests] if (tests := question_of(module)) else []
        for mutant in mutants_of(module, source):
            ids = reaching(reached, str(path), source, mutant.line)
            killer = attempt(mutant, own + [one for one in order if ids is None or one.id in ids])
            position = next((i for i, question in enumerate(order) if question.id == killer), 0)
            order.insert(0, order.pop(position))
            yield Tried(mutant, killer, "" if killer else reason_for(mutant))


def page(found: Sequence[Tried], before: str = "") -> str:
    """Return the published page, in Markdown.

    Modules that were not tried keep their rows of the page before.
    """
    lines = [
        "# Mutants of the reference",
        "",
        "A mutant is the reference with one operator, number, comparison or keyword changed. Each mutant is "
        "tried with the golden files of the standard tier, of rejections and of schedules, until it gives "
        "one wrong bit. A mutant that no file exposes is equivalent, for a reason in "
        "`sgd_ref/conformance/audit/mutants/equivalent.py`, or open. Written by "
        "`python -m sgd_ref.conformance.audit.mutants.run --update`.",
        "",
        "The files show little of "
        + " and ".join(f"`{module}`" for module in TESTS)
        + ", for the reasons in `own_tests.py` beside it: mutants of these modules are first tried with the "
        "unit tests of the module.",
        "",
        "| module | mutants | killed | equivalent | open |",
        "|---|---:|---:|---:|---:|",
    ]
    tried_now = {one.mutant.module for one in found}
    rows = {module: [_count(module, found)] for module in tried_now}
    open_rows = {module: _open(module, found) for module in tried_now}
    for line in before.splitlines():
        row = re.match(r"\| `([\w.]+)`(,?)", line)
        if row and row[1] not in tried_now:
            (open_rows if row[2] else rows).setdefault(row[1], []).append(line)
    lines += [*_in_order(rows), ""]
    left = [f"`{module}`" for module in MODULES if module not in rows]
    if left:
        lines += [f"Not tried for this page: {', '.join(left)}.", ""]
    if any(open_rows.values()):
        lines += ["| open in | before | after |", "|---|---|---|", *_in_order(open_rows), ""]
    return "\n".join(lines)


def _count(module: str, found: Sequence[Tried]) -> str:
    own = [one for one in found if one.mutant.module == module]
    killed, equivalent = sum(bool(one.killer) for one in own), sum(bool(one.reason) for one in own)
    return f"| `{module}` | {len(own)} | {killed} | {equivalent} | {len(own) - killed - equivalent} |"


def _open(module: str, found: Sequence[Tried]) -> list[str]:
    return [
        f"| `{module}`, `{one.mutant.place}` | {_cell(one.mutant.before)} | {_cell(one.mutant.after)} |"
        for one in found
        if one.mutant.module == module and not one.killer and not one.reason
    ]


def _cell(code: str) -> str:
    """Return a line as code in a table, where a bar would end the cell."""
    return f"`{code.replace('|', chr(92) + '|')}`"


def _in_order(rows: Mapping[str, Sequence[str]]) -> list[str]:
    return [row for module in MODULES for row in rows.get(module, ())]


def main(arguments: Sequence[str] | None = None) -> None:
    """Try the mutants; the exit status is 1 if a mutant survives that is not known to be equivalent."""
    parser = argparse.ArgumentParser(description="Try mutants of the reference against the golden files.")
    parser.add_argument("--module", action="append", choices=MODULES, help="only this one; may be repeated")
    parser.add_argument("--golden", type=Path, default=data_folder.folder(), help="the folder of the files")
    parser.add_argument("--update", action="store_true", help=f"write {PAGE.name} instead of printing it")
    given = parser.parse_args(arguments)
    found = list(tried(given.module or MODULES, list(questions(given.golden))))
    if given.update:
        PAGE.write_text(page(found, PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print(page(found), end="")
    if any(not one.killer and not one.reason for one in found):
        sys.exit(1)


if __name__ == "__main__":
    main()
