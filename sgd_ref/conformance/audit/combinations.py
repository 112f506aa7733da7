"""Combinations that the catalogue lacks: ``python -m sgd_ref.conformance.audit.combinations [--append]``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from sgd_ref.conformance.catalogue.combinations import (
    DATA,
    case_id,
    kept_combinations,
    missing_combinations,
    smoke_ids,
    to_text,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the ids of the combinations that pairs of values of two axes still need; append them if asked to.

    The exit status is 1 if there are any and they were not appended. An appended one is for no known
    deviation until its author says for which; until then the audit of the promises fails for it.
    """
    parser = argparse.ArgumentParser(prog="python -m sgd_ref.conformance.audit.combinations")
    parser.add_argument("--append", action="store_true", help="append them to the data of the catalogue")
    options = parser.parse_args(arguments)
    missing = missing_combinations(kept_combinations())
    for combination in missing:
        print(case_id(combination.features))
    if options.append and missing:
        DATA.write_text(to_text((*kept_combinations(), *missing), smoke_ids()), encoding="utf-8")
        return 0
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
