"""Asking one release: it is installed, runs all scripts of a target, and is replaced by the next release."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sgd_ref.conformance.targets.environments import places
from sgd_ref.conformance.targets.environments.environment import INSTALLED, CannotInstall, Environment
from sgd_ref.conformance.targets.environments.isolated import ENVIRONMENT
from sgd_ref.conformance.targets.history.outcome import FAILS, Outcome, outcome_of
from sgd_ref.conformance.targets.history.programs import Program
from sgd_ref.conformance.targets.history.releases import Releases
from sgd_ref.conformance.targets.history.storage import Asked

SEVERAL = Path(__file__).with_name("several.py")

REQUIREMENTS = "requirements.txt"

LIMIT, PATIENCE = 120, 1800
"""The limits of one script: seconds of processor time, and seconds of wall time."""

Ask = Callable[[Mapping[str, str]], dict[str, Any]]
"""A function from scripts, by name, to the answers of ``several.py``."""


class CannotAsk(Exception):
    """Raised if a release cannot be installed, or cannot be imported."""


def ask(release: str, releases: Releases, scripts: Mapping[str, Program], run: Ask) -> Asked:
    """Return the outcome of each contradiction in one release.

    The script of the finding runs first. If the release cannot run it, the ten lines of the bug report run,
    which use fewer features of the framework.

    Parameters
    ----------
    release : str
        The release as the user named it. The answer names the version that was installed.
    releases : Releases
        The releases of the framework.
    scripts : mapping of str to Program
        The scripts, by the names of the contradictions.
    run : callable
        The function that runs scripts in the environment of the release.
    """
    try:
        told = run({name: one.case for name, one in scripts.items() if one.case})
        outcomes = {name: outcome_of(answer, of_finding=True) for name, answer in told["answers"].items()}
        fails = Outcome(FAILS)
        others = {
            name: one.lines
            for name, one in scripts.items()
            if one.lines and outcomes.get(name, fails).name == FAILS
        }
        if others:
            for name, answer in run(others)["answers"].items():
                outcomes[name] = outcome_of(answer, of_finding=False)
    except CannotAsk as problem:
        return Asked(release, obstacle=str(problem))
    versions: dict[str, str] = told["versions"]
    return Asked(versions.get(releases.package, release), versions, outcomes)


def environment_of(releases: Releases, name: str, release: str, definition: Path) -> Environment:
    """Return the environment of a release, which replaces that of any other release of the framework.

    Parameters
    ----------
    releases : Releases
        The releases of the framework.
    name : str
        The name of the environment's folder.
    release : str
        The release to install.
    definition : Path
        A folder, into which the requirements are written.
    """
    (definition / REQUIREMENTS).write_text(releases.requirements(release), encoding="utf-8")
    return Environment(f"history-{name}", definition, python=REQUIREMENTS, settings=releases.settings)


def in_environment(releases: Releases, name: str, release: str, say: Callable[[str], None]) -> Ask:
    """Return a function that runs scripts with a release, which is installed the first time.

    Parameters
    ----------
    releases, name, release
        As for `environment_of`.
    say : callable
        The function that is called with each command before it runs.
    """

    def run(scripts: Mapping[str, str]) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            environment = environment_of(releases, name, release, Path(folder))
            try:
                if environment.state() != INSTALLED:
                    environment.update(say)
            except CannotInstall as problem:
                raise CannotAsk(_last_line(str(problem))) from problem
            return _answers(environment.interpreter, releases, scripts, Path(folder))

    return run


def _answers(
    interpreter: Path, releases: Releases, scripts: Mapping[str, str], folder: Path
) -> dict[str, Any]:
    request = {
        "imports": list(releases.imports),
        "packages": [releases.package, *releases.shown],
        "limit": LIMIT,
        "patience": PATIENCE,
        "scripts": dict(scripts),
    }
    done = subprocess.run(
        [str(interpreter), "-E", "-s", str(SEVERAL)],
        input=json.dumps(request).encode(),
        env={**places.clean(dict(os.environ)), **ENVIRONMENT, **releases.settings},
        cwd=folder,
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        raise CannotAsk(_last_line(done.stderr.decode(errors="replace")))
    answers: dict[str, Any] = json.loads(done.stdout)
    return answers


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["nothing was said"])[-1].strip()
