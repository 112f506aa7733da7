"""The version of the definition of sgd_ref: what carries bits carries it, and the page is about this one."""

from __future__ import annotations

import json
import os
import re
import sys
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pytest

import sgd_ref
from sgd_ref.command import main as cli
from sgd_ref.command.main import version
from sgd_ref.command.options import AS_EXPECTED
from sgd_ref.conformance import data_folder
from sgd_ref.definition import DEFINITION_VERSION

ROOT = Path(__file__).parents[2]
PAGE = Path(str(sgd_ref.__file__)).with_name("DEFINITION.md")
PROGRAM = """
from sgd_ref.conformance.protocol.worker import Handshake, serve
from sgd_ref.conformance.trajectories import reference

serve(lambda: (Handshake("mine", "3.0", versions={"definition": "9.8.7"}), reference.run))
"""

NUMBERS = r"\d+\.\d+\.\d+"


def test_it_has_three_numbers() -> None:
    assert re.fullmatch(NUMBERS, sgd_ref.DEFINITION_VERSION)
    assert f"(definition {DEFINITION_VERSION}, " in version()


def test_the_page_is_about_the_definition_that_there_is() -> None:
    page = " ".join(PAGE.read_text(encoding="utf-8").split())
    assert re.findall(rf"The definition of today is ({NUMBERS})\.", page) == [DEFINITION_VERSION]


@pytest.mark.skipif(not (ROOT / "pyproject.toml").is_file(), reason="its version is in the repository alone")
def test_the_package_has_a_first_number_at_least_as_high() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert int(project["version"].split(".")[0]) >= int(DEFINITION_VERSION.split(".")[0])


def test_golden_data_names_the_definition_that_gave_the_answers() -> None:
    index = json.loads((data_folder.folder() / "index.json").read_text(encoding="utf-8"))
    assert index["definition_version"] == DEFINITION_VERSION


def test_reports_name_the_definition_of_the_judge_and_that_of_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path))
    monkeypatch.chdir(tmp_path)
    Path("program.py").write_text(PROGRAM)
    arguments = ["conform", "--tier", "first", "-k", "first/plain$", "--json", "o.json", "--junit", "o.xml"]
    assert cli.main([*arguments, "--", sys.executable, "program.py"]) == AS_EXPECTED
    report = json.loads(Path("o.json").read_text())
    assert report["definition_version"] == DEFINITION_VERSION
    assert report["runs"][0]["versions"]["definition"] == "9.8.7"
    properties = ElementTree.parse("o.xml").iterfind("testsuite/properties/property")
    assert {p.get("name"): p.get("value") for p in properties}["definition_version"] == DEFINITION_VERSION
