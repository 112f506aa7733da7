"""The command line: targets, options, exit status, reports for people and programs."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import NoReturn
from xml.etree import ElementTree

import pytest
from rich.console import Console

from sgd_ref import conformance
from sgd_ref.base.installing import how_to_install
from sgd_ref.command import main as cli
from sgd_ref.command.options import AS_EXPECTED, COULD_NOT_RUN, DIVERGES, WRONG_USAGE
from sgd_ref.conformance import data_folder
from sgd_ref.conformance.catalogue.case import Case, Implementation, Trajectory
from sgd_ref.conformance.golden.format import location
from sgd_ref.conformance.targets import registry, running
from sgd_ref.conformance.targets.keras import launch as keras
from sgd_ref.conformance.targets.target import CannotRun, Target
from sgd_ref.conformance.trajectories import reference

PERFECT = "from sgd_ref.conformance.trajectories import reference\nrun = reference.run\n"
ONE_UNIT_OFF = """
import numpy as np
from sgd_ref.conformance.trajectories import reference

def run(case):
    trajectory = reference.run(case)
    kernel = trajectory[3]["variables"][0]
    flat = kernel.reshape(-1)
    flat[2] = np.nextafter(flat[2], flat.dtype.type(9))
    return trajectory
"""
PATTERN = "^exact/(?!missing).*/float32"
SHORT_PATTERN = "^exact/m(?!issing).*/float32"


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("perfect", "off", "lame", "leaving", "broken", "gone", "marking"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "perfect.py").write_text(PERFECT)
    (tmp_path / "off.py").write_text(ONE_UNIT_OFF)
    (tmp_path / "lame.py").write_text("run = 3\n")
    (tmp_path / "leaving.py").write_text("import sys\ndef run(case):\n    sys.exit(0)\n")
    (tmp_path / "broken.py").write_text("raise RuntimeError('no such luck')\n")
    (tmp_path / "gone.py").write_text("import sys\nsys.exit(0)\n")
    return tmp_path


def test_perfect_implementation_is_as_expected(module: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["conform", "perfect:run", "-k", PATTERN]) == AS_EXPECTED
    last = capsys.readouterr().out.splitlines()[-1]
    assert re.match(r"perfect:run: (\d+) of \1 cases graded, held to keras; \1 exact, 0 rounding", last)
    assert last.endswith("as expected")
    assert "NOT as expected" not in last


def test_one_unit_is_shown_with_place_and_bits(module: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["conform", "off:run", "-k", "^exact/momentum/float32"]) == DIVERGES
    out = capsys.readouterr().out
    line = next(line for line in out.splitlines() if line.startswith("exact/momentum/float32: "))
    assert re.search(
        r"call 3, variables of kernel\[0, 2\]: expected 0x[0-9a-f]{8} \(.*\), got 0x[0-9a-f]{8} \(.*\), "
        r"1 unit apart \(1 of \d+ elements\); not faithful: call 3, variables of kernel\[0, 2\]: "
        r"\S+, where \S+ is the only possible value \[unexplained\]",
        line,
    )
    assert out.splitlines()[-1].endswith("NOT as expected")


def test_leaving_is_no_success(module: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["conform", "leaving:run", "-k", "^named/signed-zeros"]) == DIVERGES
    assert "named/signed-zeros: SystemExit: 0 [unexplained]" in capsys.readouterr().out


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device here")
def test_report_that_cannot_be_written(module: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["conform", "perfect:run", "-k", "^named/signed-zeros", "--json", "/dev/full"]
    assert cli.main(arguments) == COULD_NOT_RUN
    assert "No space left" in capsys.readouterr().err


def test_json_and_junit(module: Path) -> None:
    arguments = ["conform", "off:run", "-k", SHORT_PATTERN, "--json", "o.json", "--junit", "o.xml"]
    assert cli.main(arguments) == DIVERGES
    (run,) = json.loads(Path("o.json").read_text())["runs"]
    assert run["name"] == "off:run"
    assert run["ok"] is run["as_expected"] is False
    first = run["verdicts"][0]
    assert first["grade"] == "diverges"
    assert first["first"]["call"] == 3
    assert first["first"]["element"] == [0, 2]
    assert first["units"] == 1.0
    suite = ElementTree.parse("o.xml").getroot()[0]
    assert suite.get("failures") == suite.get("tests") == str(len(run["verdicts"]))
    message = suite.findall("testcase")[0][0].get("message")
    assert message is not None
    assert "1 unit apart" in message


def test_json_of_a_perfect_run(module: Path) -> None:
    assert cli.main(["conform", "perfect:run", "-k", PATTERN, "--json", "o.json", "--junit", "o.xml"]) == 0
    (run,) = json.loads(Path("o.json").read_text())["runs"]
    assert run["ok"] is run["as_expected"] is True
    assert {verdict["grade"] for verdict in run["verdicts"]} == {"exact"}
    assert ElementTree.parse("o.xml").getroot()[0].get("failures") == "0"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: COMMAND"),
        (["conform"], "required: TARGET"),
        (["conform", "nonsense"], "module:function or -- PROGRAM, got 'nonsense'"),
        (["conform", "keras", "--backend", "theano"], "invalid choice: 'theano'"),
        (["conform", "keras", "--mode", "lazy"], "invalid choice: 'lazy'"),
        (["conform", "keras", "--mode", "jitted"], "--mode of keras must be one of eager, compiled, all"),
        (["conform", "optax", "--mode", "compiled"], "--mode of optax must be one of eager, jitted, all"),
        (["conform", "torch", "--variant", "slow"], "invalid choice: 'slow'"),
        (["conform", "torch", "--mode", "eager"], "--mode must be left out for torch, it belongs to keras"),
        (["conform", "keras", "--variant", "all"], "--variant must be left out for keras, it belongs to t"),
        (["conform", "perfect:run", "--backend", "jax"], "--backend must be left out for perfect:run, it"),
        (["conform", "keras", "--tier", "huge"], "invalid choice: 'huge'"),
        (["conform", "perfect:run", "-k", "("], "'(' is not a regular expression"),
        (["conform", "perfect:run", "-k", "no such case"], "-k must match the id of a case"),
        (
            ["conform", "perfect:run", "--json", "no/such/folder/o.json"],
            "--json must be a file that can be w",
        ),
        (["conform", "perfect:run", "--html", "."], "--html must be a file that can be written, got .: Is"),
        (["conform", "perfect:run", "--junit", "."], "--junit must be a file that can be written, got .: Is"),
    ],
)
def test_wrong_usage(
    module: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == WRONG_USAGE
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("no_such_module:run", "No module named 'no_such_module'"),
        ("perfect:absent", "no attribute 'absent'"),
        ("lame:run", "lame:run: it is not a function"),
        ("broken:run", "broken:run: RuntimeError: no such luck"),
        ("gone:run", "gone:run: SystemExit: 0"),
    ],
)
def test_what_cannot_be_run(
    module: Path, capsys: pytest.CaptureFixture[str], target: str, message: str
) -> None:
    assert cli.main(["conform", target]) == COULD_NOT_RUN
    assert message in capsys.readouterr().err


def test_pytorch_is_not_compiled(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["conform", "keras", "--backend", "torch", "--mode", "compiled"]
    assert cli.main(arguments) == COULD_NOT_RUN
    assert "fit() does not compile on PyTorch" in capsys.readouterr().err
    names = [target.name for target in registry.targets("keras", backend="all", mode="all")]
    assert names == [
        "keras jax eager",
        "keras jax compiled",
        "keras tensorflow eager",
        "keras tensorflow compiled",
        "keras torch eager",
    ]


def test_families_and_their_members() -> None:
    def names(word: str, **options: str) -> list[str]:
        return [target.name for target in registry.targets(word, **options)]

    assert names("keras") == ["keras jax eager"]
    assert names("torch") == ["torch loop"]
    assert names("torch", variant="all") == [
        "torch loop",
        "torch foreach",
        "torch fused",
        "torch compiled",
    ]
    assert names("optax", mode="all") == ["optax eager", "optax jitted"]


def test_what_is_not_installed_cannot_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for target in ("torch", "optax", "keras"):
        for arguments in (["conform", target], ["explain", "first/plain", target]):
            assert cli.main(arguments) == COULD_NOT_RUN
            printed = capsys.readouterr()
            assert printed.out == ""
            (line,) = printed.err.splitlines()
            assert line.startswith(f"sgd-ref: {target} ")
            assert line.endswith(f"is not installed; install it with: {how_to_install(target)}")


def test_a_script_needs_no_target(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert cli.main(["reproduce", "torch"]) == AS_EXPECTED
    assert capsys.readouterr().err == ""


def test_absent_backend(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(keras, "available", lambda backend: False)
    assert cli.main(["conform", "keras", "--backend", "all", "-k", "^named/signed-zeros"]) == COULD_NOT_RUN
    printed = capsys.readouterr()
    assert printed.out == ""
    expected = [
        f"sgd-ref: keras {backend} eager: Keras 3 on {backend} is not installed; install it with: "
        for backend in ("jax", "tensorflow", "torch")
    ]
    for line, start in zip(printed.err.splitlines(), expected, strict=True):
        assert line.startswith(start)


def test_a_part_that_cannot_be_run_is_told_beside_the_others(
    module: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def absent() -> AbstractContextManager[Implementation]:
        raise CannotRun("it is not there")

    both = [Target("there", lambda: nullcontext(reference.run)), Target("absent", absent)]
    monkeypatch.setattr(registry, "targets", lambda target, **options: both)
    assert cli.main(["conform", "keras", "-k", "^named/signed-zeros"]) == COULD_NOT_RUN
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "NOT RUN: it is not there" in printed.out.splitlines()
    assert printed.out.splitlines()[-1].startswith("there: 1 of 1 cases graded")


@pytest.mark.parametrize("option", ["--json", "--junit", "--ledger"])
def test_files_are_tried_before_the_run(
    option: str, module: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (module / "marking.py").write_text("def run(case):\n    open('ran', 'w')\n")
    (module / "file").write_text("as it was")
    for path in ("nowhere/o", "file/o", "."):
        with pytest.raises(SystemExit) as stopped:
            cli.main(["conform", "marking:run", "-k", "^named/signed-zeros", option, path])
        assert stopped.value.code == WRONG_USAGE
        assert f"{option} must be a file that can be " in capsys.readouterr().err
    assert not (module / "ran").exists()
    assert (module / "file").read_text() == "as it was"


def test_a_file_stays_as_it_is_where_nothing_can_be_run(module: Path) -> None:
    (module / "o.json").write_text("as it was")
    assert cli.main(["conform", "--json", "o.json", "--junit", "o.xml", "--", "no-such-program"]) == 3
    assert (module / "o.json").read_text() == "as it was"
    assert not (module / "o.xml").exists()


def test_two_reports_are_two_files(module: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["conform", "perfect:run", "--json", "o", "--junit", "./o"])
    assert stopped.value.code == WRONG_USAGE
    assert "--json and --junit must be different files, got o for both" in capsys.readouterr().err


OWN = """
from sgd_ref.conformance.deviations import DEVIATIONS
from sgd_ref.conformance.trajectories import reference

def run(case):
    return reference.run(case, DEVIATIONS["rate-outside-velocity"].optimizer)
"""


@pytest.mark.share(2)
@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ([], DIVERGES),
        (["--rule", "keras"], DIVERGES),
        (["--rule", "pytorch"], AS_EXPECTED),
        (["--by-design", "rate-outside-velocity"], AS_EXPECTED),
        (["--by-design", "rate-outside-velocity,ascends"], DIVERGES),
    ],
)
def test_a_function_is_held_to_the_rule_that_is_given(
    module: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    status: int,
) -> None:
    monkeypatch.delitem(sys.modules, "own", raising=False)
    (module / "own.py").write_text(OWN)
    assert cli.main(["conform", "own:run", "-k", "^exact/callable/float32$", *arguments]) == status
    held_to = {"keras": "keras", "pytorch": "pytorch"}.get("".join(arguments[1:]), "keras")
    assert f"held to the rule of {held_to}" in capsys.readouterr().out
    if arguments:
        assert cli.main(["explain", "exact/callable/float32", "own:run", *arguments]) == status


@pytest.mark.parametrize("arguments", [["--rule", "caffe"], ["--by-design", "descends"]])
def test_a_rule_that_there_is_not_is_wrong_usage(module: Path, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["conform", "perfect:run", *arguments])
    assert stopped.value.code == WRONG_USAGE


def test_what_is_kept_of_a_target_is_written_by_its_own_rule(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["conform", "torch", "--rule", "keras", "--update"])
    assert stopped.value.code == WRONG_USAGE
    assert "--update must go with the rule of torch, pytorch" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("names", "status"), [(["rate-outside-velocity"], AS_EXPECTED), (["ascends"], DIVERGES), (None, DIVERGES)]
)
def test_what_ones_own_ledger_lists_is_expected_and_a_name_alone_excuses_nothing(
    module: Path, monkeypatch: pytest.MonkeyPatch, names: list[str] | None, status: int
) -> None:
    monkeypatch.delitem(sys.modules, "own", raising=False)
    (module / "own.py").write_text(OWN)
    case_id = "exact/callable/float32"
    arguments = ["conform", "own:run", "-k", f"^{case_id}$", "--json", "own.json", "--junit", "own.xml"]
    arguments += ["--html", "own.html"]
    if names is not None:
        entry = {"grade": "diverges", "names": names, "evidence": [], "cases": [case_id]}
        (module / "ledger").write_text(json.dumps({"format": 1, "target": "own:run", "entries": [entry]}))
        arguments += ["--ledger", "ledger"]
    assert cli.main(arguments) == status
    (found,) = json.loads((module / "own.json").read_text())["runs"]
    assert "rate-outside-velocity" in found["found"]
    assert found["as_expected"] is (status == AS_EXPECTED)
    suite = ElementTree.parse(module / "own.xml").find("testsuite")
    assert suite is not None
    assert suite.get("failures") == ("0" if status == AS_EXPECTED else "1")
    page = (module / "own.html").read_text()
    assert ("data-unexpected" in page.partition("<article")[2].partition("<script")[0]) is (
        status != AS_EXPECTED
    )


def test_what_is_no_ledger_is_refused_before_the_run(
    module: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (module / "ledger").write_text("{}")
    with pytest.raises(SystemExit) as stopped:
        cli.main(["conform", "perfect:run", "-k", "^named/signed-zeros", "--ledger", "ledger"])
    assert stopped.value.code == WRONG_USAGE
    assert "--ledger must be a file that --update wrote, got ledger: " in capsys.readouterr().err


def test_the_folder_of_the_targets_is_tried_before_the_run(
    module: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(running, "run_all", lambda *given: pytest.fail("it was run"))
    (module / "targets").touch()
    monkeypatch.setattr(data_folder, "folder", lambda: module)
    for option in ("--page", "--update"):
        with pytest.raises(SystemExit) as stopped:
            cli.main(["conform", "torch", option])
        assert stopped.value.code == WRONG_USAGE
        assert f"{option} must be a folder that can be written" in capsys.readouterr().err


def test_the_version_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["--version"])
    assert stopped.value.code == 0
    out = capsys.readouterr().out
    assert re.fullmatch(r"sgd-ref \S+ \(definition \d\S+, numpy \d\S+, numba \d\S+, Python 3\.\S+\)\n", out)


def test_ctrl_c_gives_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(folder: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(location, "places", interrupted)
    assert cli.main(["golden", "list"]) == 130
    assert capsys.readouterr() == ("", "")


# A program that a shell starts in the background ignores Ctrl-C, and so does what that program starts.
HEEDING = """\
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, "-m", "sgd_ref.command.main", *sys.argv[1:]])
"""

COMMAND = [sys.executable, "-c", HEEDING]


def test_ctrl_c_ends_a_function_that_hangs(module: Path) -> None:
    (module / "hanging.py").write_text(
        "import time\ndef run(case):\n    open('ran', 'w').close()\n    time.sleep(600)\n"
    )
    arguments = [*COMMAND, "conform", "hanging:run"]
    with subprocess.Popen(arguments, cwd=module, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            while not (module / "ran").exists():
                assert process.poll() is None
                time.sleep(0.1)
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=60) == (b"", b"")
        finally:
            process.kill()
    assert process.returncode == 130


def test_ctrl_c_ends_runs_in_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def run(case: Case) -> Trajectory:
        asked.append(case.id)
        if len(asked) > 3:
            interrupting.set()
        return reference.run(case)

    interrupting = threading.Event()
    endless = Target("endless", lambda: nullcontext(run))
    cases = [replace(conformance.cases("first")[0], id=f"{number}") for number in range(10_000)]

    def interrupted(outcomes: object) -> NoReturn:
        interrupting.wait()
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "_collected", interrupted)
    with pytest.raises(KeyboardInterrupt):
        running.run_all([endless, endless], cases, Console(file=io.StringIO()))
    assert 3 < len(asked) < 1000


@pytest.mark.share(3)
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", [["golden", "list"], ["reproduce", "torch"], ["--version"], ["--help"]])
def test_a_closed_pipe_gives_no_traceback(arguments: list[str], unbuffered: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run(
        [*COMMAND, *arguments], stdout=writing, stderr=subprocess.PIPE, env=environment, check=False
    )
    os.close(writing)
    assert done.stderr == b""
    # What argparse prints at once, it prints without looking.
    assert done.returncode == 141 or (unbuffered and arguments[0].startswith("--"))


def test_no_escape_codes_and_no_progress_bar_in_a_pipe(module: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sgd_ref.command.main", "conform", "perfect:run", "-k", "^named/signed-zeros"],
        capture_output=True,
        check=False,
        cwd=module,
    )
    assert done.returncode == 0
    assert done.stderr == b""
    assert b"\x1b" not in done.stdout
    last = done.stdout.splitlines()[-1]
    assert last.startswith(b"perfect:run: 1 of 1 cases graded, held to keras; 1 exact")


def test_full_tier_is_filtered_before_cases_are_made() -> None:
    pattern = re.compile(
        "^axes/mixed/nesterov/exclusion/global_clipnorm/overwrite/accumulation-3/dynamic/restarts/sparse/special"
    )
    assert [case.id.rsplit("/", 1)[1] for case in running.matching("full", pattern)] == ["special", "decimal"]


def test_what_is_offered_is_all_that_is_run(module: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = "float64,momentum,clipnorm,dyadic,ordinary"
    assert cli.main(["conform", "perfect:run", "--offers", words, "--json", "o.json"]) == AS_EXPECTED
    verdicts = json.loads((module / "o.json").read_text())["runs"][0]["verdicts"]
    ids = {verdict["case"] for verdict in verdicts}
    assert {"axes/float64/momentum/clipnorm", "structure/equal-shapes/clipnorm/momentum/float64"} <= ids
    of_axes = [case_id for case_id in ids if case_id.startswith("axes/")]
    assert all("/float64" in case_id and "nesterov" not in case_id for case_id in of_axes)
    assert "0 unsupported" in capsys.readouterr().out


PROGRAM = """
import sys
print('{"protocol":1,"name":"few","version":"1","dtypes":["float16"],"features":FEATURES}', flush=True)
for line in sys.stdin:
    print('{"id":' + line.split('"id":')[1].split(',')[0] + ',"unsupported":"no"}', flush=True)
"""


def test_a_program_is_sent_what_it_claims(module: Path, capsys: pytest.CaptureFixture[str]) -> None:
    features = '{"update":["momentum"],"clipping":["none"],"averages":["none"],"accumulation":["none"]}'
    (module / "few.py").write_text(PROGRAM.replace("FEATURES", features))
    arguments = ["conform", "--offers", "claims", "--tier", "smoke", "--json", "o.json"]
    cli.main([*arguments, "--", sys.executable, str(module / "few.py")])
    verdicts = json.loads((module / "o.json").read_text())["runs"][0]["verdicts"]
    ids = [verdict["case"] for verdict in verdicts]
    assert "axes/float16" in ids
    assert all("float16" in case_id and "nesterov" not in case_id for case_id in ids if "axes/" in case_id)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["perfect:run", "--offers", "adam"], "a word for what is offered must be one of float32, "),
        (["perfect:run", "--offers", "claims"], "--offers claims must go with a program after --"),
        (["perfect:run", "--offers", "momentum", "--tier", "full"], "--offers must go with another tier"),
        (["torch", "--offers", "momentum", "--update"], "--update must go with the whole standard tier"),
        (
            ["perfect:run", "--offers", "momentum", "-k", "cosine"],
            "-k must match the id of a case that needs",
        ),
    ],
)
def test_what_cannot_be_offered(
    module: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["conform", *arguments])
    assert stopped.value.code == WRONG_USAGE
    assert words in capsys.readouterr().err
