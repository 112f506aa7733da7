"""Read and replace whole files; only regular files are accepted."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NamedTuple

KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}


class Destination(NamedTuple):
    """The place where a file will be written, after links are followed.

    Attributes
    ----------
    path : Path
        Not a link itself.
    mode : int or None
        The permissions of the regular file that is there; None where there is nothing yet.
    """

    path: Path
    mode: int | None


def check_regular(path: str | os.PathLike[str], mode: int) -> None:
    """Check by the mode of the file at `path` that it is a regular file.

    Raises
    ------
    OSError
        If it is something else; an IsADirectoryError if it is a folder.
    """
    if stat.S_ISREG(mode):
        return
    message = f"path must lead to a regular file, got {os.fspath(path)!r}, which is "
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(f"{message}a folder")
    raise OSError(message + KINDS.get(stat.S_IFMT(mode), "something else"))


def destination(path: str | os.PathLike[str]) -> Destination:
    """Return the place where a file at `path` will be written: at the end of its links, if there are any.

    Raises
    ------
    OSError
        If something else is there, or links lead in a circle.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     link = Path(folder, "link")
    ...     link.symlink_to("target")
    ...     destination(link).path.name, destination(link).mode
    ('target', None)
    """
    try:
        # The status is not that of the resolved path: links such as /dev/stdout lead to a file without a
        # path.
        found = Path(path).stat()
    except FileNotFoundError:
        return Destination(Path(path).resolve(), None)
    check_regular(path, found.st_mode)
    target = Path(path).resolve()
    if not (target.exists() and os.path.samestat(target.stat(), found)):
        raise OSError(f"path must lead to a file that has a name, got {os.fspath(path)!r}")
    return Destination(target, stat.S_IMODE(found.st_mode))
