"""Rows that the catalogue lacks: ``python -m sgd_ref.conformance.audit.rows``, ``--append`` to add them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from sgd_ref.conformance.catalogue.rows import DATA, case_id, missing_rows, rows, smoke_ids, to_text


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the ids of the rows that pairs of values of any two axes still need; append them if asked to.

    Exit status 1 if there are any and they were not appended. A row that was appended is for no known
    deviation until its author says for which; until then the audit of the promises fails for it.
    """
    parser = argparse.ArgumentParser(prog="python -m sgd_ref.conformance.audit.rows")
    parser.add_argument("--append", action="store_true", help="append them to the data of the catalogue")
    options = parser.parse_args(arguments)
    missing = missing_rows(rows())
    for row in missing:
        print(case_id(row.features))
    if options.append and missing:
        DATA.write_text(to_text((*rows(), *missing), smoke_ids()), encoding="utf-8")
        return 0
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
