"""Files and folders that a command will write, checked before a long run rather than after it."""

from __future__ import annotations

import stat
import tempfile
from pathlib import Path

from sgd_ref.command.options import WrongUsage


def check_file(option: str, path: Path) -> None:
    """Check that a file can be written, and do not change it.

    Parameters
    ----------
    option : str
        The option that names the file, for the error message.
    path : Path
        The file. If there is none yet, there is none afterwards either.

    Raises
    ------
    WrongUsage
        If the file cannot be written.
    """
    try:
        exists = _is_there(path)
        if exists and not stat.S_ISREG(path.stat().st_mode) and not path.is_dir():
            # Opening a named pipe waits for its reader, and a terminal can always be written.
            return
        # The end of a link, since a new file is removed again and the link must stay.
        target = path.resolve()
        with target.open("ab"):
            pass
        if not exists:
            target.unlink()
    except (OSError, RuntimeError) as problem:
        raise WrongUsage(
            f"{option} must be a file that can be written, got {path}: {_why(problem)}"
        ) from problem


def check_folder(option: str, path: Path) -> None:
    """Check that files can be written into a folder, which may not exist yet.

    Parameters
    ----------
    option : str
        The option that names the folder, for the error message.
    path : Path
        The folder. If there is none yet, there is none afterwards either.

    Raises
    ------
    WrongUsage
        If files cannot be written into it.
    """
    try:
        present = path.absolute()
        while not _is_there(present):
            present = present.parent
        with tempfile.NamedTemporaryFile(dir=present, prefix=".sgd-ref-"):
            pass
    except (OSError, RuntimeError) as problem:
        raise WrongUsage(
            f"{option} must be a folder that can be written, got {path}: {_why(problem)}"
        ) from problem


def check_distinct(**paths: Path | None) -> None:
    """Check that no two options name the same file.

    Raises
    ------
    WrongUsage
        If two options name the same file.

    Examples
    --------
    >>> check_distinct(json=Path("a"), junit=Path("b"))
    """
    seen: dict[Path, str] = {}
    for name, path in paths.items():
        if path is None or (_is_there(path) and not path.is_file()):
            continue
        other = seen.setdefault(path.resolve(), name)
        if other != name:
            raise WrongUsage(f"--{other} and --{name} must be different files, got {path} for both")


def _is_there(path: Path) -> bool:
    try:
        path.stat()
    except FileNotFoundError:
        return False
    return True


def _why(problem: Exception) -> str:
    return getattr(problem, "strerror", None) or str(problem)
