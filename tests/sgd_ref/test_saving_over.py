"""What is at the path already: save replaces regular files and nothing else, and load reads nothing else."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sgd_ref import SGD, load, save

pytestmark = pytest.mark.skipif(os.name != "posix", reason="elsewhere pipes have no paths")


def example() -> tuple[SGD, list[Any]]:
    variables = [np.array([1.0, 2.0], np.float32)]
    optimizer = SGD(0.5, momentum=0.5)
    optimizer.apply([np.ones(2, np.float32)], variables)
    return optimizer, variables


def assert_saved(path: Path, variables: list[Any]) -> None:
    restored = [np.zeros(2, np.float32)]
    assert load(path, restored).calls == 1
    assert restored[0].tobytes() == variables[0].tobytes()


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def named_pipe(path: Path) -> None:
    os.mkfifo(path)


def listening_socket(path: Path) -> None:
    # Relative, since the paths of sockets are short.
    here = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path.name)
    finally:
        os.chdir(here)


def device(path: Path) -> None:
    try:
        # The numbers of /dev/null on Linux.
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only root may create a device")


def folder(path: Path) -> None:
    path.mkdir()


SPECIAL: dict[str, Callable[[Path], None]] = {
    "a named pipe": named_pipe,
    "a socket": listening_socket,
    "a character device": device,
    "a folder": folder,
}


@pytest.mark.parametrize("linked", [False, True], ids=["itself", "through a link"])
@pytest.mark.parametrize(("kind", "create"), SPECIAL.items(), ids=SPECIAL)
def test_what_is_no_regular_file_is_refused_and_stays(
    tmp_path: Path, kind: str, create: Callable[[Path], None], linked: bool
) -> None:
    optimizer, variables = example()
    target = tmp_path / "target"
    create(target)
    path = target
    if linked:
        path = tmp_path / "link"
        path.symlink_to(target)
    before, entries = target.lstat(), names(tmp_path)
    message = rf"^path must lead to a regular file, got '{path}', which is {kind}$"
    with pytest.raises(IsADirectoryError if kind == "a folder" else OSError, match=message):
        save(path, optimizer, variables)
    with pytest.raises(OSError, match=message):
        load(path, [np.zeros(2, np.float32)])
    assert (target.lstat().st_ino, target.lstat().st_mode) == (before.st_ino, before.st_mode)
    assert names(tmp_path) == entries


@pytest.mark.parametrize("relative", [False, True], ids=["absolute", "relative"])
def test_a_link_stays_and_the_file_that_it_leads_to_is_replaced_beside_it(
    tmp_path: Path, relative: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    optimizer, variables = example()
    elsewhere, here = tmp_path / "elsewhere", tmp_path / "here"
    elsewhere.mkdir()
    here.mkdir()
    target, link = elsewhere / "target", here / "link"
    target.write_bytes(b"old")
    link.symlink_to("../elsewhere/target" if relative else target)
    written: list[Path] = []
    replace = Path.replace

    def recording(self: Path, other: Any) -> Any:
        written.append(self.parent)
        assert target.read_bytes() == b"old"
        return replace(self, other)

    with monkeypatch.context() as context:
        context.setattr(Path, "replace", recording)
        save(link, optimizer, variables)
    assert link.is_symlink()
    assert written == [elsewhere]
    assert (names(here), names(elsewhere)) == (["link"], ["target"])
    assert_saved(target, variables)


def test_where_a_link_leads_to_nothing_a_file_is_created(tmp_path: Path) -> None:
    optimizer, variables = example()
    link = tmp_path / "link"
    link.symlink_to("target")
    save(link, optimizer, variables)
    assert link.is_symlink()
    assert_saved(tmp_path / "target", variables)


def test_where_a_link_leads_into_no_folder_nothing_is_created(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("nowhere/target")
    with pytest.raises(FileNotFoundError):
        save(link, *example())
    assert names(tmp_path) == ["link"]


def test_links_in_a_circle_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links"):
        save(tmp_path / "a", *example())
    with pytest.raises(OSError, match="symbolic links"):
        load(tmp_path / "a", [np.zeros(2, np.float32)])
    assert names(tmp_path) == ["a", "b"]


def test_a_folder_may_be_a_link(tmp_path: Path) -> None:
    optimizer, variables = example()
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    for _ in range(2):
        save(tmp_path / "link" / "checkpoint", optimizer, variables)
    assert names(tmp_path / "folder") == ["checkpoint"]
    assert_saved(tmp_path / "folder" / "checkpoint", variables)


def test_another_hard_link_keeps_the_old_file(tmp_path: Path) -> None:
    optimizer, variables = example()
    (tmp_path / "old").write_bytes(b"old")
    os.link(tmp_path / "old", tmp_path / "new")
    save(tmp_path / "new", optimizer, variables)
    assert (tmp_path / "old").read_bytes() == b"old"
    assert_saved(tmp_path / "new", variables)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="only Linux has names for open files")
def test_an_open_file_without_a_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "removed"
    with path.open("wb") as file:
        path.unlink()
        with pytest.raises(OSError, match=r"^path must lead to a file that has a name, got '/proc/self/fd/"):
            save(f"/proc/self/fd/{file.fileno()}", *example())
    assert names(tmp_path) == []


SAVE_TO_OUTPUT = """
import numpy as np
from sgd_ref import SGD, save

optimizer, w = SGD(), np.zeros(2)
optimizer.build([w])
try:
    save("/dev/stdout", optimizer, [w])
except OSError as error:
    print(error)
"""


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="only Unix has a name for the output")
def test_the_output_of_a_process_is_no_place_where_it_is_a_pipe() -> None:
    output = subprocess.run(
        [sys.executable, "-c", SAVE_TO_OUTPUT], capture_output=True, text=True, check=True
    )
    assert output.stdout == "path must lead to a regular file, got '/dev/stdout', which is a named pipe\n"
