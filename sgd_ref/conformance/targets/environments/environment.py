"""An environment: the packages for one target, installed apart from everything else."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sgd_ref.conformance.targets.environments import places, starters

MARK = "sgd-ref-environment.json"
"""The file that marks a folder as an environment of this kit, and says for which target."""

INSTALLED, OUTDATED, BROKEN, ABSENT = "installed", "outdated", "not finished", "not installed"


class CannotInstall(Exception):
    """Raised if an environment cannot be made, with the failed command and the end of its output."""


@dataclass(frozen=True)
class Environment:
    """The description of the environment of one target.

    Attributes
    ----------
    name : str
        The name of the target, and of the folder of the environment.
    definition : Path
        The folder of the target, with the files below.
    python : str
        A file of requirements with pinned versions, which are installed into a virtual environment; empty for
        none.
    npm : str
        A package-lock.json with a package.json beside it; empty for none.
    build : callable or None
        A function that writes the worker into the given folder of the environment, and returns a command that
        compiles or checks the worker.
    sources : sequence of str
        Other files that the environment is made from.
    starter : str
        The starter that the worker is made from; empty for none.
    tools : sequence of str
        Programs that must be installed on the machine.
    size : str
        The space that the environment takes on the disk, in words.
    settings : mapping of str to str
        Environment variables for the process of the worker.
    """

    name: str
    definition: Path
    python: str = ""
    npm: str = ""
    build: Callable[[Path], list[str]] | None = None
    sources: Sequence[str] = ()
    starter: str = ""
    tools: Sequence[str] = ()
    size: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The folder of the environment, which may not exist."""
        return places.folder() / self.name

    @property
    def interpreter(self) -> Path:
        """The path of the Python of the virtual environment."""
        return interpreter_in(self.folder)

    @property
    def identity(self) -> str:
        """A hash of all files that the environment is made from."""
        digest = hashlib.sha256()
        lock = (self.npm, "package.json") if self.npm else ()
        for file in filter(None, (self.python, *lock, *self.sources)):
            digest.update(file.encode() + b"\0" + (self.definition / file).read_bytes())
        if self.starter:
            digest.update(starters.path_of(self.starter).read_bytes())
        if self.python:
            # Packages compiled for one version of Python do not fit another.
            digest.update(f"{sys.version_info[0]}.{sys.version_info[1]}".encode())
        return digest.hexdigest()

    def state(self) -> str:
        """Return "installed", "outdated", "not finished" or "not installed"."""
        if not self.folder.is_dir():
            return ABSENT
        try:
            mark = json.loads((self.folder / MARK).read_text(encoding="utf-8"))
            finished, identity = mark["finished"], mark["identity"]
        except (OSError, ValueError, KeyError, TypeError):
            return BROKEN
        if not finished:
            return BROKEN
        return INSTALLED if identity == self.identity else OUTDATED

    def obstacle(self) -> str | None:
        """Return the reason why the target cannot run here, with a command that helps; None if it can."""
        state = self.state()
        if state == INSTALLED:
            return None
        return f"its environment is {state}; install it with: sgd-ref targets install {self.name}"

    def install(self, say: Callable[[str], None]) -> None:
        """Make the environment from scratch.

        Parameters
        ----------
        say : callable
            Called with each command before the command runs.

        Raises
        ------
        CannotInstall
            If a program is missing, a command fails, or the folder was not made by this kit.
        """
        missing = [tool for tool in self.tools if shutil.which(tool) is None]
        if missing:
            raise CannotInstall(f"{self.name} needs {', '.join(missing)}, which is not found")
        self.remove()
        self.folder.mkdir(parents=True)
        self._mark(finished=False)
        for command in self._commands():
            say(" ".join(command))
            self._run(command)
        self._mark(finished=True)

    def update(self, say: Callable[[str], None]) -> None:
        """Install the requirements into the existing environment; if there is none, make it.

        What only the older requirements needed stays, so that releases of one package that follow each other
        take seconds each.

        Parameters
        ----------
        say : callable
            Called with each command before the command runs.

        Raises
        ------
        CannotInstall
            As for `install`.
        """
        if self.state() != OUTDATED or not self.python or not self.interpreter.exists():
            self.install(say)
            return
        self._mark(finished=False)
        command = self._pip()
        say(" ".join(command))
        self._run(command)
        self._mark(finished=True)

    def remove(self) -> None:
        """Remove the environment, if there is one.

        Raises
        ------
        CannotInstall
            If the folder was not made by this kit.
        """
        if not self.folder.exists():
            return
        if not (self.folder / MARK).is_file() and any(self.folder.iterdir()):
            raise CannotInstall(
                f"{self.folder} must be an environment of this kit, or nothing; it holds no {MARK}"
            )
        shutil.rmtree(self.folder)

    def _commands(self) -> Iterator[list[str]]:
        # Each command is made after the commands before it have run: the build may need the installed
        # packages.
        if self.python:
            yield [sys.executable, "-m", "venv", str(self.folder / "python")]
            yield self._pip()
        if self.npm:
            for file in ("package.json", self.npm):
                shutil.copyfile(self.definition / file, self.folder / file)
            options = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
            yield ["npm", "ci", "--prefix", str(self.folder), *options]
        if self.build is not None:
            yield self.build(self.folder)

    def _pip(self) -> list[str]:
        pip = [str(self.interpreter), "-m", "pip", "--disable-pip-version-check", "--quiet"]
        # Most of a framework is never imported, and need not be compiled.
        options = ["--no-input", "--no-compile", "--requirement"]
        return [*pip, "install", *options, str(self.definition / self.python)]

    def _run(self, command: list[str]) -> None:
        done = subprocess.run(
            command,
            env=places.clean(dict(os.environ)),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if done.returncode != 0:
            end = done.stdout.decode(errors="replace").strip().splitlines()[-15:]
            raise CannotInstall("\n".join([f"{' '.join(command)}: status {done.returncode}", *end]))

    def _mark(self, finished: bool) -> None:
        text = json.dumps({"target": self.name, "finished": finished, "identity": self.identity})
        (self.folder / MARK).write_text(text + "\n", encoding="utf-8")


def interpreter_in(folder: Path) -> Path:
    """Return the Python of the virtual environment in the folder of an environment."""
    return folder / "python" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
