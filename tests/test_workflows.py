"""What GitHub and pre-commit run exists: commands, options, files; and no job may do more than it must."""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sgd_ref.command import main
from sgd_ref.command.recipes.of_the_kit import recipes

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
MUTATION = ROOT / ".github/mutation"

pytestmark = pytest.mark.skipif(
    not WORKFLOWS or not (ROOT / "sgd_ref").is_dir(), reason="without the repository there are no workflows"
)

every_workflow = pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)

PINNED = re.compile(r"uses: [\w-]+/[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")
INSERTED = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")
FENCED = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)

TOOLS = {"build", "pip", "venv"}
"""What ``python -m`` runs that is not of this project."""

OPTIONS_OF_PYTEST = {"--ignore-glob", "--randomly-seed", "--sweep", "--sweep-seed"}

MAY_WRITE = {("release", "publish"): {"attestations": "write", "id-token": "write"}}
"""What the jobs that need more than to read are allowed."""


def content(workflow: Path) -> dict[Any, Any]:
    return yaml.safe_load(workflow.read_text(encoding="utf-8"))


def filled(text: str, choices: dict[str, Any]) -> Iterator[str]:
    """Yield a command for each value of the list of the matrix that it mentions."""
    mentioned = [name for name in choices if f"matrix.{name}" in text and isinstance(choices[name], list)]
    if not mentioned:
        yield INSERTED.sub("", text)
        return
    for value in choices[mentioned[0]]:
        yield from filled(re.sub(rf"\$\{{\{{ matrix\.{mentioned[0]} \}}\}}", str(value), text), choices)


def lines_of(workflow: Path) -> Iterator[str]:
    for job in content(workflow)["jobs"].values():
        matrix = job.get("strategy", {}).get("matrix", {})
        arguments = [row.get("arguments", "") for row in matrix.get("include", ())]
        for step in job["steps"]:
            for text in filled(step.get("run", ""), {**matrix, "arguments": arguments or [""]}):
                yield from text.replace("\\\n", " ").splitlines()


def commands(lines: Iterator[str]) -> Iterator[list[str]]:
    """Yield the words of each command that begins a line, without what leads to its folder."""
    for line in lines:
        words = re.split(r"\s(?:&&|\|\|?)\s", line)
        for part in words:
            found = [word for word in shlex.split(part, comments=True) if not re.match(r"\d*>|\w+=", word)]
            if found:
                yield [found[0].removeprefix(".venv/bin/"), *found[1:]]


def is_there(pattern: str) -> bool:
    return any(ROOT.glob(pattern))


def problems(command: list[str]) -> Iterator[str]:
    """Yield what a command names that does not exist."""
    program, *arguments = command
    if program == "sgd-ref":
        yield from problems_of_subcommand(arguments)
    elif program == "python" and "-m" in arguments:
        module = arguments[arguments.index("-m") + 1]
        if module not in TOOLS and importlib.util.find_spec(module) is None:
            yield f"there is no module {module}"
    elif program == "pytest":
        for argument in arguments:
            option, _, _ = argument.partition("=")
            if argument.startswith("-") and option not in OPTIONS_OF_PYTEST:
                yield f"pytest has no option {option}"
            if not argument.startswith("-") and not argument.isdigit() and not is_there(argument):
                yield f"there is no file {argument}"
    elif program.startswith(".") and not os.access(ROOT / program, os.X_OK):
        yield f"there is no program {program}"
    for argument in arguments:
        if argument.endswith(".toml") and not is_there(argument):
            yield f"there is no file {argument}"


def problems_of_subcommand(arguments: list[str]) -> Iterator[str]:
    name, *others = arguments
    known = main.commands_for(())
    if name not in known:
        yield f"sgd-ref has no command {name}"
        return
    parser = argparse.ArgumentParser()
    known[name].add_arguments(parser)
    options = set(re.findall(r"(?<![\w-])--?[\w-]+", parser.format_help()))
    for argument in others:
        if argument.startswith("-") and argument not in options:
            yield f"sgd-ref {name} has no option {argument}"
    if name == "regenerate":
        accepted = {recipe.name for recipe in recipes()}
        words = [word for word in others if not word.startswith("-")]
        yield from (f"there is no recipe {word}" for word in words if word not in accepted)


@every_workflow
def test_it_is_a_workflow(workflow: Path) -> None:
    found = content(workflow)
    # YAML takes the word `on` for a truth value.
    assert {"name", True, "permissions", "concurrency", "jobs"} <= found.keys()
    assert all(job["steps"] for job in found["jobs"].values())


@every_workflow
def test_every_action_is_pinned(workflow: Path) -> None:
    lines = [line.strip().removeprefix("- ") for line in workflow.read_text(encoding="utf-8").splitlines()]
    uses = [line for line in lines if line.startswith("uses:")]
    assert uses
    assert [line for line in uses if not PINNED.fullmatch(line)] == []


def test_one_action_has_one_version() -> None:
    text = "".join(workflow.read_text(encoding="utf-8") for workflow in WORKFLOWS)
    found = dict(re.findall(r"uses: (\S+)@(.*)", text))
    assert set(re.findall(r"uses: (\S+)@(.*)", text)) == set(found.items())


@every_workflow
def test_no_job_may_do_more_than_it_must(workflow: Path) -> None:
    found = content(workflow)
    assert found["permissions"] in ({}, {"contents": "read"})
    assert "secrets." not in workflow.read_text(encoding="utf-8")
    for name, job in found["jobs"].items():
        permitted = job.get("permissions", {"contents": "read"})
        assert permitted in ({"contents": "read"}, MAY_WRITE.get((workflow.stem, name))), name
        assert job["timeout-minutes"] <= 350, name
        for step in job["steps"]:
            if "actions/checkout@" in step.get("uses", ""):
                assert step["with"]["persist-credentials"] is False, name


@every_workflow
def test_every_command_exists(workflow: Path) -> None:
    for command in commands(lines_of(workflow)):
        assert list(problems(command)) == [], command


def test_every_command_for_contributors_exists() -> None:
    text = "".join(FENCED.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")))
    found = list(commands(iter(text.splitlines())))
    assert ["sgd-ref", "regenerate", "--check"] in found
    for command in found:
        assert list(problems(command)) == [], command


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("sgd-ref regrow", "no command regrow"),
        ("sgd-ref regenerate --chec", "no option --chec"),
        ("sgd-ref regenerate --only kill-matrices", "no recipe kill-matrices"),
        (".venv/bin/python -m sgd_ref.nosuch", "no module sgd_ref.nosuch"),
        ("X=1 pytest tests/nosuch", "no file tests/nosuch"),
        ("pytest --swep", "no option --swep"),
        ("true && .ci/walk", "no program .ci/walk"),
        ("timeout 5h cosmic-ray exec .github/rules.toml || true", "no file .github/rules.toml"),
    ],
)
def test_a_command_that_does_not_exist_is_noticed(command: str, problem: str) -> None:
    found = [line for words in commands(iter([command])) for line in problems(words)]
    assert len(found) == 1
    assert problem in found[0]


def test_ci_does_what_a_contributor_does() -> None:
    lines = {line for workflow in WORKFLOWS if workflow.stem == "ci" for line in lines_of(workflow)}
    assert ".ci/run" in lines


def test_every_part_of_the_reference_that_computes_has_mutants() -> None:
    parts = {path.stem for path in MUTATION.glob("*.toml")}
    job = content(ROOT / ".github/workflows/weekly.yml")["jobs"]["mutation"]
    assert set(job["strategy"]["matrix"]["part"]) == parts
    assert {"rule", "optimizer", "norm", "loss_scale", "schedules"} <= parts
    for path in MUTATION.glob("*.toml"):
        found = tomllib.loads(path.read_text(encoding="utf-8"))["cosmic-ray"]
        assert is_there(found["module-path"]), path.name
        words = shlex.split(found["test-command"])
        assert words[:5] == ["python", "-m", "pytest", "-q", "-x"]
        assert all(is_there(word) for word in words[5:]), path.name


def test_hooks_before_a_commit_are_the_checks_of_ci() -> None:
    found = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    repositories = {repository["repo"]: repository for repository in found["repos"]}
    local = repositories.pop("local")["hooks"]
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert len(local) == 4
    for hook in local:
        assert hook["language"] == "system"
        assert f".venv/bin/{hook['entry'].removesuffix(' --fix')}" in script, hook["id"]
    for repository in repositories.values():
        assert re.fullmatch("[0-9a-f]{40}", repository["rev"])
