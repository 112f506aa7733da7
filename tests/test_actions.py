"""The action that others use: its steps run here by hand, as far as that goes without GitHub."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".github/actions/conform"
WORKFLOWS = ROOT / ".github/workflows"

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir() or not (ROOT / "sgd_ref").is_dir(), reason="without the repository there is no action"
)

BASH = shutil.which("bash") or ""

needs_bash = pytest.mark.skipif(
    not BASH or sys.platform == "win32", reason="without bash the steps cannot be run"
)

FROM_INPUTS = re.compile(r"\$\{\{ inputs\.([\w-]+) \}\}")
USES = re.compile(r"uses: ([\w./-]+)/\.github/actions/conform@")

MISTAKE = '["scale-never-grows"]'

IMPLEMENTATION = f"""
from sgd_ref import conformance
from sgd_ref.conformance.diagnosis.replay import replayed

def run(case):
    return replayed(case, {MISTAKE})

@conformance.parametrize_with_cases("first")
def test_sgd(case):
    return run(case)
"""


def action() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FOLDER / "action.yml").read_text(encoding="utf-8"))
    return found


def test_every_input_is_used_and_none_is_missing() -> None:
    found = action()
    text = (FOLDER / "action.yml").read_text(encoding="utf-8")
    assert found["runs"]["using"] == "composite"
    assert set(FROM_INPUTS.findall(text)) | {"artifact"} == set(found["inputs"])
    for step in found["runs"]["steps"]:
        # What an input holds is never part of a command.
        assert "${{" not in step.get("run", "")
        assert ("run" in step) == ("shell" in step)


def test_the_script_reads_what_the_step_gives_it() -> None:
    (step,) = [step for step in action()["runs"]["steps"] if step.get("id") == "run"]
    read = set(re.findall(r"\$\{?([A-Z]+)\b", (FOLDER / "conform.sh").read_text(encoding="utf-8")))
    assert read - {"GITHUB"} == set(step["env"])


def test_other_actions_are_those_of_the_workflows() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in WORKFLOWS.glob("*.yml"))
    uses = [step["uses"] for step in action()["runs"]["steps"] if "uses" in step]
    assert uses
    assert [one for one in uses if f"uses: {one} # v" not in text] == []


def test_pages_name_the_owner_of_the_setting() -> None:
    setting = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]
    repository = setting["Repository"].removeprefix("https://github.com/")
    assert re.fullmatch(r"[\w-]+/[\w.-]+", repository)
    pages = [path for path in ROOT.rglob("*.md") if not {".venv", "build"} & set(path.parts)]
    named = [name for page in pages for name in USES.findall(page.read_text(encoding="utf-8"))]
    assert named
    assert set(named) == {repository}
    addresses = re.compile(r"https://github\.com/[\w-]+/sgd-ref\b")
    found = {url for page in pages for url in addresses.findall(page.read_text(encoding="utf-8"))}
    assert found <= {setting["Repository"]}


class Job:
    """A job of somebody else's repository, with a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.results = folder, folder / "results"
        self.summary, self.output = folder / "summary.md", folder / "output"

    def run(self, **inputs: str) -> subprocess.CompletedProcess[str]:
        """Run the step that judges, with some inputs and the defaults of the others."""
        (step,) = [step for step in action()["runs"]["steps"] if step.get("id") == "run"]
        defaults = {name: str(given["default"]) for name, given in action()["inputs"].items()}
        values = {**defaults, "python": sys.executable, **inputs}
        given = {
            name: FROM_INPUTS.sub(lambda match: values[match[1]], value)
            for name, value in step["env"].items()
        }
        self.summary.write_text("")
        environment = {
            **os.environ,
            **given,
            "RESULTS": str(self.results),
            "GITHUB_STEP_SUMMARY": str(self.summary),
            "GITHUB_OUTPUT": str(self.output),
            "GITHUB_ACTION_PATH": str(FOLDER),
            "PYTHONPATH": os.pathsep.join(
                [str(self.folder), str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
            ),
        }
        return subprocess.run(
            [BASH, "-c", step["run"]],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def read(self) -> tuple[list[str], dict[str, Any], str | None]:
        """Return the summary, the badge, and the failures in the JUnit file."""
        suite = ElementTree.parse(self.results / "junit.xml").find("testsuite")
        assert suite is not None
        badge = json.loads((self.results / "badge.json").read_text(encoding="utf-8"))
        return self.summary.read_text(encoding="utf-8").splitlines(), badge, suite.get("failures")


@pytest.fixture
def job(tmp_path: Path) -> Job:
    (tmp_path / "mine.py").write_text(IMPLEMENTATION)
    return Job(tmp_path)


@needs_bash
def test_a_mistake_is_red_and_named_and_green_after_mending(job: Job) -> None:
    red = job.run(target="mine:run", tier="first")
    assert red.returncode == 1, red.stderr
    summary, badge, failures = job.read()
    assert summary[0] == "### SGD: NOT as expected"
    assert any(
        line.startswith("| `scale-never-grows` | 1 | `first/dynamic-loss-scale` |") for line in summary
    )
    assert len(summary) <= 30
    assert (badge["color"], failures) == ("red", "1")
    assert job.output.read_text() == f"results={job.results}\n"

    (job.folder / "mine.py").write_text(IMPLEMENTATION.replace(MISTAKE, "[]"))
    green = job.run(target="mine:run", tier="first")
    assert green.returncode == 0, green.stderr
    summary, badge, failures = job.read()
    assert summary[0] == "### SGD: as expected"
    assert (badge["color"], failures) == ("brightgreen", "0")


@needs_bash
def test_a_program_is_judged_by_what_it_offers(job: Job) -> None:
    source = (ROOT / "golden/starters/sgd.py").read_text(encoding="utf-8")
    right, wrong = "rounded(dtype, w[i] + v[i])", "rounded(dtype, w[i] - v[i])"
    assert source.count(right) == 1
    program = f"{sys.executable} sgd.py"
    (job.folder / "sgd.py").write_text(source.replace(right, wrong), encoding="utf-8")
    red = job.run(program=program, tier="first", offers="claims")
    assert red.returncode == 1, red.stderr
    assert any("`moves-against-velocity`" in line for line in job.read()[0])
    (job.folder / "sgd.py").write_text(source, encoding="utf-8")
    assert job.run(program=program, tier="first", offers="claims").returncode == 0
    assert job.read()[1]["color"] == "brightgreen"


@needs_bash
def test_tests_are_run_by_pytest(job: Job) -> None:
    points = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    lines = [f"{name} = {module}" for name, module in points["pytest11"].items()]
    information = job.folder / "declared-0.dist-info"
    information.mkdir()
    (information / "entry_points.txt").write_text("\n".join(["[pytest11]", *lines, ""]))
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: declared\nVersion: 0\n")
    red = job.run(tests="-q mine.py")
    assert red.returncode == 1, red.stdout + red.stderr
    assert "it equals scale-never-grows" in red.stdout
    summary, badge, failures = job.read()
    assert any("`scale-never-grows`" in line for line in summary)
    assert (badge["color"], failures) == ("red", "1")


@needs_bash
def test_nothing_to_run_is_wrong_usage(job: Job) -> None:
    for inputs in ({}, {"target": "mine:run", "tests": "mine.py"}):
        done = job.run(**inputs)
        assert done.returncode == 2
        assert "::error::one of target, program and tests must be given" in done.stdout


@needs_bash
def test_what_could_not_run_says_so(job: Job) -> None:
    done = job.run(target="nowhere:run")
    assert done.returncode == 3
    assert not (job.results / "report.json").exists()


@needs_bash
def test_inputs_are_no_commands(job: Job) -> None:
    done = job.run(target="mine:run; touch broken", tier="$(touch broken)")
    assert done.returncode == 2
    assert not (job.folder / "broken").exists()
