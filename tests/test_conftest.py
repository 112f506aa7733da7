"""What all tests share: which parameters a share keeps, and what no file may leave changed."""

from __future__ import annotations

import decimal
import functools
import gc
import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from sgd_ref.conformance import deviations
from sgd_ref.conformance.catalogue import tiers

TESTS = """
import pytest

@pytest.mark.share(2)
@pytest.mark.parametrize("value", [pytest.param(0, marks=pytest.mark.sweep), 1])
def test_long_in_part(value):
    pass

@pytest.mark.share(5)
@pytest.mark.parametrize("value", range(11))
def test_shared(value):
    pass

def test_whole():
    pass

@pytest.mark.sweep
def test_long():
    pass
"""


OPTIONS = ("-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:randomly")


@pytest.fixture(autouse=True)
def conftest(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(Path(__file__).with_name("conftest.py").read_text(encoding="utf-8"))


@pytest.fixture
def ran(pytester: pytest.Pytester) -> Callable[..., list[str]]:
    """Return a function that runs the tests above with options, and gives the names of those that ran."""
    pytester.makepyfile(test_it=TESTS)

    def run(*options: str) -> list[str]:
        result = pytester.inline_run(*OPTIONS, *options)
        return [item.nodeid.partition("::")[2] for item in result.listoutcomes()[0]]

    return run


def test_a_share_is_one_in_so_many_and_drawn_by_the_seed(ran: Callable[..., list[str]]) -> None:
    drawn = ran()
    assert len(drawn) == 1 + 3 + 1
    assert drawn[-1] == "test_whole"
    assert ran() == drawn
    assert any(ran("--sweep-seed", str(seed)) != drawn for seed in range(3))


def test_a_share_is_drawn_from_what_is_not_in_the_sweep(ran: Callable[..., list[str]]) -> None:
    for seed in range(5):
        assert ran("-k", "part or whole", "--sweep-seed", str(seed)) == ["test_long_in_part[1]", "test_whole"]


def test_a_sweep_runs_all(ran: Callable[..., list[str]]) -> None:
    assert len(ran("--sweep")) == 15


def test_what_is_asked_for_by_name_is_run(ran: Callable[..., list[str]]) -> None:
    assert ran("test_it.py::test_shared[7]") == ["test_shared[7]"]
    assert ran("-k", "shared and 7") == ["test_shared[7]"]
    assert ran("test_it.py::test_long") == ["test_long"]


LEAVING = """
import os

def test_before():
    pass

def test_leaving():
    {statement}

def test_between():
    pass
"""

LEFT = {
    "environment variables: LEFT": "os.environ['LEFT'] = 'behind'",
    "the current folder: ": "os.chdir('..')",
    "the garbage collector: others than before": "import gc; gc.disable()",
    "the context of decimal: ": "import decimal; decimal.getcontext().prec = 7",
    "NumPy's errors and formats: others than before": "import numpy; numpy.seterr(over='raise')",
    "the module sgd_ref.rule: others than before": (
        "import sys, types; sys.modules['sgd_ref.rule'] = types.ModuleType('rule')"
    ),
    "sgd_ref.conformance.deviations.DEVIATIONS: ascends": (
        "from sgd_ref.conformance import deviations; deviations.DEVIATIONS['ascends'] = object()"
    ),
    "tiers._first(): others than before": (
        "from sgd_ref.conformance.catalogue import tiers; tiers._first.cache_clear(); tiers._first()"
    ),
}
"""What a file of tests may leave changed: how it is told, and a statement that leaves it so."""

ALWAYS = ("the current folder", "sgd_ref.conformance", "tiers.")
"""Beginnings of what is told in every run."""


@pytest.fixture
def mended(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """After the test, mend what the statements above change."""
    monkeypatch.setenv("LEFT", "here")
    monkeypatch.setitem(sys.modules, "sgd_ref.rule", importlib.import_module("sgd_ref.rule"))
    monkeypatch.setitem(deviations.DEVIATIONS, "ascends", deviations.DEVIATIONS["ascends"])
    monkeypatch.setattr(tiers, "_first", functools.cache(tiers._first.__wrapped__))
    tiers._first()
    with decimal.localcontext(), np.errstate():
        yield
    gc.enable()


@pytest.mark.usefixtures("mended")
@pytest.mark.parametrize(("told", "statement"), LEFT.items(), ids=list(LEFT))
def test_what_a_file_leaves_changed_is_told(told: str, statement: str, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_leaving=LEAVING.format(statement=statement), test_next=LEAVING.format(statement="pass")
    )
    options = OPTIONS if told.startswith(ALWAYS) else (*OPTIONS, "--whole-state")
    passed, skipped, failed = pytester.inline_run(*options).listoutcomes()
    assert (len(passed), len(skipped)) == (6, 0)
    (report,) = failed
    assert report.when == "teardown"
    assert report.nodeid == "test_leaving.py::test_between"
    assert "the tests of test_leaving.py have left changed: " in report.longreprtext
    assert told in report.longreprtext
