"""What all tests share: which parameters a share keeps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

TESTS = """
import pytest

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


@pytest.fixture
def ran(pytester: pytest.Pytester) -> Callable[..., list[str]]:
    """Return a function that runs the tests above with options, and gives the names of those that ran."""
    pytester.makeconftest(Path(__file__).with_name("conftest.py").read_text(encoding="utf-8"))
    pytester.makepyfile(test_it=TESTS)

    def run(*options: str) -> list[str]:
        result = pytester.inline_run(
            "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:randomly", *options
        )
        return [item.nodeid.partition("::")[2] for item in result.listoutcomes()[0]]

    return run


def test_a_share_is_one_in_so_many_and_drawn_by_the_seed(ran: Callable[..., list[str]]) -> None:
    drawn = ran()
    assert len(drawn) == 3 + 1
    assert drawn[-1] == "test_whole"
    assert ran() == drawn
    assert any(ran("--sweep-seed", str(seed)) != drawn for seed in range(3))


def test_a_sweep_runs_all(ran: Callable[..., list[str]]) -> None:
    assert len(ran("--sweep")) == 13


def test_what_is_asked_for_by_name_is_run(ran: Callable[..., list[str]]) -> None:
    assert ran("test_it.py::test_shared[7]") == ["test_shared[7]"]
    assert ran("-k", "shared and 7") == ["test_shared[7]"]
    assert ran("test_it.py::test_long") == ["test_long"]
