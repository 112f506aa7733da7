"""The unit tests that run before the golden files, for modules whose effect no file can show.

`interval` only decides where a schedule is evaluated exactly: wider intervals change no rate. `exact` serves
the bounds of the judge as well, which no file holds. Their own unit tests compare both modules with exact
numbers and with mpmath.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from sgd_ref.conformance import data_folder
from sgd_ref.conformance.audit.mutants.trial import Question

TESTS = {
    "sgd_ref.arithmetic.exact": "tests/sgd_ref/arithmetic/test_exact.py",
    "sgd_ref.arithmetic.interval": "tests/sgd_ref/arithmetic/test_interval.py",
}
"""The tests of a module, in the tree that the golden data lie in."""

SECONDS = 60
"""Seconds of processor time that the tests of a module may take."""

OPTIONS = ("-q", "-x", "-p", "no:cacheprovider", "--hypothesis-seed=0")


def question_of(module: str, tree: Path | None = None) -> Question | None:
    """Return the tests of a module as a question; None if the module needs none.

    Raises
    ------
    FileNotFoundError
        If the tree does not hold the tests, for example in a wheel.
    """
    if module not in TESTS:
        return None
    path = (tree or data_folder.folder().parent) / TESTS[module]
    if not path.is_file():
        raise FileNotFoundError(
            f"the mutants of {module} are asked {TESTS[module]}, which is not here: {path}"
        )
    pytest = importlib.import_module("pytest")  # Before the fork, which every mutant begins with.

    def pass_with_the_mutant() -> bool:
        # Tests that this process has imported already would ask the module that they were imported with.
        for name in [
            name for name, known in sys.modules.items() if getattr(known, "__file__", "") == str(path)
        ]:
            del sys.modules[name]
        return bool(pytest.main([*OPTIONS, str(path)]) == 0)

    return Question(TESTS[module], pass_with_the_mutant, SECONDS)
