"""The journal of a sweep: a file with one line for each finished unit, from which a sweep is resumed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from sgd_ref.conformance.grading.sweep.software import differences
from sgd_ref.conformance.grading.sweep.unit import Done, Json

FORM = 1
"""The version of the form of the file."""

KEY = "sweep"


class Journal:
    """The finished units of one sweep, on disk.

    The first line says what was asked. Every further line is one unit with its result, written at once. A
    process that is killed while it writes leaves an incomplete last line, which is removed when the sweep is
    resumed.

    Parameters
    ----------
    path : Path
        The file. If there is none, or an empty one, a journal begins.
    asked : mapping of str to str
        What was asked: all that decides the results, by name.

    Raises
    ------
    ValueError
        If the file is no journal, or the journal of something else; the message says what differs. The file
        stays as it is.
    OSError
        If the file cannot be read or written, or another process has the journal open.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with Journal(Path(folder, "journal"), {"tier": "full"}) as journal:
    ...         journal.add(Done("a", {"cases": 1}, {"name": "0"}))
    ...     with Journal(Path(folder, "journal"), {"tier": "full"}) as journal:
    ...         "a" in journal, journal.result("a")
    (True, {'cases': 1})
    """

    def __init__(self, path: Path, asked: Mapping[str, str]) -> None:
        self.path = path
        self._places: dict[str, tuple[int, int]] = {}
        self._file: BinaryIO = path.open("r+b" if path.exists() else "x+b", buffering=0)
        try:
            self._lock()
            self._read(dict(asked))
        except BaseException:
            self._file.close()
            raise

    def __contains__(self, unit: str) -> bool:
        return unit in self._places

    def __len__(self) -> int:
        return len(self._places)

    def add(self, done: Done) -> None:
        """Write the result of a unit, unless the journal has one: a unit that is done twice counts once."""
        if done.unit in self:
            return
        start = self._file.seek(0, os.SEEK_END)
        line = _line({"unit": done.unit, "worker": done.worker, "result": done.result})
        self._write(line)
        self._places[done.unit] = start, len(line)

    def result(self, unit: str) -> Json:
        """Return the result of a finished unit; it is read from the file, since all together may be large."""
        return dict(self._entry(unit)["result"])

    def worker(self, unit: str) -> dict[str, str]:
        """Return the worker that did a finished unit."""
        return dict(self._entry(unit)["worker"])

    def close(self) -> None:
        """Close the file, so that another process may resume the sweep."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _entry(self, unit: str) -> Json:
        start, length = self._places[unit]
        self._file.seek(start)
        found: Json = json.loads(self._file.read(length))
        return found

    def _write(self, line: bytes) -> None:
        written = 0
        while written < len(line):
            written += self._file.write(line[written:]) or 0

    def _lock(self) -> None:
        # Windows has no such lock.
        with contextlib.suppress(ImportError):
            import fcntl

            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as problem:
                raise OSError(f"the journal {self.path} is in use by another process") from problem

    def _read(self, asked: dict[str, str]) -> None:
        whole = 0
        with self.path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.endswith(b"\n"):
                    if number == 1 and not _is_begun_header(line):
                        raise ValueError(f"{self.path} is no journal of a sweep: it has no line that says so")
                    break
                self._take(number, line, whole, asked)
                whole += len(line)
        self._file.truncate(whole)
        if not whole:
            self._file.seek(0)
            self._write(_line({KEY: FORM, "asked": asked}))

    def _take(self, number: int, line: bytes, start: int, asked: dict[str, str]) -> None:
        try:
            content: Any = json.loads(line)
            if number == 1:
                form, of = content[KEY], content["asked"]
            else:
                unit, _, _ = content["unit"], content["worker"], content["result"]
        except (ValueError, KeyError, TypeError) as problem:
            if number == 1:
                raise ValueError(
                    f"{self.path} is no journal of a sweep: its first line does not say so"
                ) from problem
            raise ValueError(
                f"line {number} of the journal {self.path} is damaged: remove the line"
            ) from problem
        if number > 1:
            self._places.setdefault(unit, (start, len(line)))
        elif form != FORM:
            raise ValueError(f"the journal {self.path} has form {form!r}, which this version cannot resume")
        elif of != asked:
            raise ValueError(
                f"the journal {self.path} is of something else: for this run {differences(of, asked)}; "
                "ask for the same, or name another file"
            )


def journal_at(path: Path | None, asked: Mapping[str, str]) -> Journal:
    """Open the journal of a sweep at a path, or, without one, at `default_path`.

    Raises
    ------
    ValueError, OSError
        As `Journal` does.
    """
    if path is None:
        path = default_path(asked)
        path.parent.mkdir(parents=True, exist_ok=True)
    return Journal(path, asked)


def default_path(asked: Mapping[str, str]) -> Path:
    """Return where the journal of a sweep lies if nobody names a file: in the cache of the user.

    The folder is ``sgd-ref/sweeps`` in ``$XDG_CACHE_HOME`` or ``~/.cache``. The name of the file depends on
    all that is asked.

    >>> default_path({"tier": "full"}) == default_path({"tier": "smoke"})
    False
    """
    cache = os.environ.get("XDG_CACHE_HOME")
    base = Path(cache) if cache and Path(cache).is_absolute() else Path.home() / ".cache"
    name = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]
    return base / "sgd-ref" / "sweeps" / f"{name}.jsonl"


def _line(content: Json) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode() + b"\n"


def _is_begun_header(line: bytes) -> bool:
    begun = _line({KEY: FORM, "asked": {}})[:-4]
    return begun.startswith(line) or line.startswith(begun)
