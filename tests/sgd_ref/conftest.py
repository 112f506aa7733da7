"""What the tests of the golden data share: all of it, read once."""

from __future__ import annotations

from pathlib import Path

import pytest

from sgd_ref.conformance import data_folder
from sgd_ref.conformance.golden.format import location
from sgd_ref.conformance.golden.format.entries import Entry, entry_from_json
from sgd_ref.conformance.golden.format.location import Place
from sgd_ref.conformance.golden.format.schemas import TRAJECTORY


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of the golden data."""
    return data_folder.folder()


@pytest.fixture(scope="session")
def contents(golden: Path) -> dict[str, bytes]:
    """Path and text of every file."""
    return {path: (golden / path).read_bytes() for path in location.data_files(golden)}


@pytest.fixture(scope="session")
def places(golden: Path) -> list[Place]:
    """Every entry; no test may change one."""
    return list(location.places(golden))


@pytest.fixture(scope="session")
def entries(places: list[Place]) -> list[Entry]:
    """Every entry that is a trajectory."""
    return [entry_from_json(place.entry) for place in places if place.kind == TRAJECTORY]
