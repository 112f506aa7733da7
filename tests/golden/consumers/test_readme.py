"""What golden/README.md says of the format and the protocol is complete."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sgd_ref import SGD
from sgd_ref.conformance.catalogue.axes import AXES
from sgd_ref.conformance.catalogue.case import Case, LossScaling, State
from sgd_ref.conformance.catalogue.contested import QUESTIONS
from sgd_ref.conformance.catalogue.records import RECORD_KEYS
from sgd_ref.conformance.protocol.answer import OUTCOMES
from sgd_ref.conformance.protocol.handshake import Handshake
from sgd_ref.schedules import serialization


def sections(golden: Path) -> dict[str, str]:
    """Return the text under each heading."""
    parts = (golden / "README.md").read_text("utf-8").split("\n## ")[1:]
    return {heading: text for heading, _, text in (part.partition("\n") for part in parts)}


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("A case", Case.__dataclass_fields__),
        ("A case", SGD(0.1).get_config()),
        ("A case", State.__dataclass_fields__),
        ("A case", LossScaling.__dataclass_fields__),
        ("A record", RECORD_KEYS),
        ("Schedules", serialization.CLASSES),
        ("The protocol", Handshake.__dataclass_fields__),
        ("Self-check", [question.name for question in QUESTIONS]),
    ],
)
def test_every_key_is_explained(golden: Path, section: str, words: list[str]) -> None:
    missing = [word for word in words if f"`{word}`" not in sections(golden)[section]]
    assert not missing


def test_every_outcome_and_every_claim_is_listed(golden: Path) -> None:
    protocol = sections(golden)["The protocol"]
    assert all(f'`"{outcome}"`' in protocol for outcome in OUTCOMES)
    listed = " ".join(protocol.split())
    missing = [axis for axis, values in AXES.items() if f"`{axis}` ({', '.join(values)})" not in listed]
    assert not missing


def test_every_stage_is_listed_with_its_arguments(golden: Path) -> None:
    lines = sections(golden)["Stages"].splitlines()
    found = set()
    for path in (golden / "stages").glob("*.json"):
        for entry in json.loads(path.read_text("utf-8"))["entries"]:
            line = next(line for line in lines if line.startswith(f"| `{entry['stage']}` |"))
            assert all(argument in line for argument in entry["arguments"]), line
            found.add(entry["stage"])
    assert len(found) == sum(line.startswith("| `") for line in lines)


def test_every_file_is_listed(golden: Path) -> None:
    table = sections(golden)["Files"]
    known = [path for path in golden.iterdir() if path.is_dir() or path.suffix == ".json"]
    missing = [path.name for path in known if path.name != "consumers" and f"`{path.name}" not in table]
    assert not missing
