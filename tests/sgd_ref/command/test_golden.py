"""The command ``sgd-ref golden``: what it prints and its exit status."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from sgd_ref.command import golden as command
from sgd_ref.command import main as cli
from sgd_ref.conformance import data_folder
from sgd_ref.conformance.golden.format.location import Place, id_of
from sgd_ref.conformance.golden.tools import writing
from sgd_ref.conformance.golden.tools.listing import description, table
from sgd_ref.conformance.golden.tools.verifying import NO_JSONSCHEMA, Verification


@pytest.fixture
def copied(golden: Path, tmp_path: Path) -> Path:
    """A copy of the small files, with an index of its own."""
    paths = ("first.json", "rejections.json", "stages/move.json", "schema/stage.schema.json")
    contents = {path: (golden / path).read_bytes() for path in paths}
    documents = {path: json.loads(text) for path, text in contents.items()}
    contents["index.json"] = writing.text_of("index.json", writing.index_of(contents, documents))
    for path, text in contents.items():
        (tmp_path / "data" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / path).write_bytes(text)
    return tmp_path / "data"


def test_verify_says_what_is_wrong(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copied / "first.json").unlink()
    assert cli.main(["golden", "verify", str(copied)]) == 1
    assert capsys.readouterr().out == f"first.json: missing\n{copied}: 1 problem\n"


@pytest.mark.parametrize(
    ("found", "status", "last"),
    [
        (Verification(), 0, "as it should be"),
        (Verification(["a", "b"]), 1, "2 problems"),
        (Verification([], [NO_JSONSCHEMA]), 3, "as it should be"),
    ],
)
def test_the_status_of_verify(
    found: Verification,
    status: int,
    last: str,
    copied: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = []
    monkeypatch.setattr(command, "verify", lambda *arguments: given.append(arguments) or found)
    assert cli.main(["golden", "verify", str(copied), "--no-replay"]) == status
    assert given[0][:2] == (copied, False)
    out = capsys.readouterr().out
    assert out.endswith(f"{last}\n")
    assert ("NOT CHECKED" in out) == bool(found.not_run)


def test_write_writes_into_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = []
    monkeypatch.setattr(writing, "write", lambda folder, progress: given.append(folder))
    assert cli.main(["golden", "write", str(tmp_path)]) == 0
    assert cli.main(["golden", "write"]) == 0
    assert given == [tmp_path, data_folder.folder()]
    assert capsys.readouterr().out.startswith(f"wrote {tmp_path}\n")


def test_diff(copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other"
    shutil.copytree(copied, other)
    assert cli.main(["golden", "diff", str(copied), str(other)]) == 0
    assert capsys.readouterr().out == ""
    text = (other / "first.json").read_text().replace('"learning_rate":0.1,', '"learning_rate":0.2,', 1)
    (other / "first.json").write_text(text)
    assert cli.main(["golden", "diff", str(copied), str(other)]) == 1
    assert capsys.readouterr().out == "first/plain: case config learning_rate: 0.1 became 0.2\n"


def test_a_missing_folder_is_named(copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "missing"
    for arguments in (["verify", str(missing)], ["diff", str(copied), str(missing)]):
        assert cli.main(["golden", *arguments]) == 3
        assert capsys.readouterr().err.endswith(f"there is no folder {missing}\n")


def test_list(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["golden", "list", "--folder", str(copied), "-k", "clip|special-1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["id", "tier", "kind", "dtypes", "calls", "bounds", "contested", "exposes"]
    assert lines[-1] == f"{len(lines) - 2} entries"
    row = next(line.split() for line in lines if line.strip().startswith("first/clipnorm"))
    assert row[:6] == ["first/clipnorm", "first", "trajectory", "float16", "3", "bounds"]


def test_a_narrow_terminal_cuts_no_id_off(places: list[Place]) -> None:
    place = max(places, key=lambda place: len(id_of(place.entry)))
    console = Console(width=60, color_system=None)
    with console.capture() as capture:
        console.print(table([place]))
    first_column = [line.split(" ")[1] for line in capture.get().splitlines()[1:]]
    assert "".join(first_column).startswith(id_of(place.entry))


def test_every_entry_can_be_shown(places: list[Place]) -> None:
    for place in places[::19]:
        lines = list(description(place))
        assert lines[0].startswith(id_of(place.entry))
        assert len(lines) > 1


def test_show_has_bits_decimals_and_bounds(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["golden", "show", "first/plain", "--folder", str(copied)]) == 0
    out = capsys.readouterr().out
    entry = json.loads((copied / "first.json").read_bytes())["entries"][0]
    array = entry["expected"][1]["variables"][0]
    bound = entry["bounds"][1]["variables"][0]
    assert f"  variables of kernel: {array['decimal']}\n    bits   {array['bits']}\n" in out
    # The file leaves out the digits that are expected; for people they are all there.
    lower, upper = (
        " ".join(
            of[: len(of) - len(last)] + last
            for of, last in zip(array["bits"].split(), end.split(), strict=True)
        )
        for end in (bound["lower"], bound["upper"])
    )
    assert f"    lower  {lower}\n    upper  {upper}\n" in out
    assert "learning_rate = 0.1\n" in out


def test_show_has_the_window_of_a_big_array(places: list[Place]) -> None:
    place = next(place for place in places if id_of(place.entry) == "structure/big-65536/plain/float32")
    text = "\n".join(description(place))
    assert (
        "variables of size_65537: of 65537 elements those at [0, 1, 2, 3, 65533, 65534, 65535, 65536]" in text
    )
    assert f"hash   {place.entry['expected'][1]['variables'][2]['hash']}" in text
    assert max(map(len, text.splitlines())) < 1000


def test_wrong_usage(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in (
        (["show", "nothing", "--folder", str(copied)], "ID must be that of an entry"),
        (
            ["list", "-k", "nothing", "--folder", str(copied)],
            "-k must match the id of an entry",
        ),
        ([], "required: ACTION"),
        (["burn"], "invalid choice: 'burn'"),
        (["list", "-k", "("], "'(' is not a regular expression"),
        (["diff", "a"], "required: NEW"),
    ):
        with pytest.raises(SystemExit) as caught:
            cli.main(["golden", *arguments])
        assert caught.value.code == 2
        printed = capsys.readouterr()
        assert message in printed.err
        assert printed.out == ""


def test_write_tries_the_folder_before_it_computes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(writing, "write", lambda folder, progress: pytest.fail("it was computed"))
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as caught:
        cli.main(["golden", "write", str(tmp_path / "file/data")])
    assert caught.value.code == 2
    message = f"FOLDER must be a folder that can be written, got {tmp_path / 'file/data'}: "
    assert message in capsys.readouterr().err


def test_what_cannot_be_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (
        ["verify", str(tmp_path / "none")],
        ["diff", str(tmp_path), str(tmp_path)],
        ["list", "--folder", str(tmp_path)],
        ["show", "a", "--folder", str(tmp_path)],
    ):
        assert cli.main(["golden", *arguments]) == 3
        assert capsys.readouterr().err.startswith("sgd-ref: ")
