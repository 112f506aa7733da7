"""``sgd-ref conform -- PROGRAM``: programs that are right, wrong, absent, and that claim too much."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from sgd_ref.command import main as cli
from sgd_ref.command.options import AS_EXPECTED, COULD_NOT_RUN, DIVERGES, WRONG_USAGE

PATTERN = "^exact/(plain|momentum)/float32$|^axes/(plain|momentum)$"

SERVED = """
import sys
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.catalogue.case import Unsupported
from sgd_ref.conformance.protocol.worker import Handshake, serve

REFUSED, DTYPES, VALUES = (text.split(",") if text else [] for text in sys.argv[1:4])

def run(case):
    if case.config["momentum"] and "momentum" in REFUSED:
        raise Unsupported("no such update")
    return reference.run(case)

features = {"update": VALUES} if VALUES else {}
serve(lambda: (Handshake("my_sgd", "2.5", "Logo", DTYPES or None, features, {"turtle": "4"}), run))
"""

CLUMSY = """
import json, os, sys, time
from sgd_ref.conformance.protocol import encoding
from sgd_ref.conformance.trajectories import reference
cases = 0
os.write(1, b'{"protocol": 1, "name": "clumsy", "version": "1"}' + bytes([10]))
for line in sys.stdin.buffer:
    case = encoding.case_from_json(encoding.from_line(line))
    answer = encoding.to_line({"id": case.id, "trajectory": encoding.trajectory_to_json(reference.run(case))})
    if case.id == "exact/plain/float32":
        os.write(2, b"tired" + bytes([10]))
        sys.exit(7)
    if case.id == "exact/momentum/float32":
        os.write(1, answer[:100])
        time.sleep(600)
    if "plain" in case.id:
        answer = answer.replace(b'"float32"', b'"float64"')
    os.write(1, answer)
"""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "served.py").write_text(SERVED)
    (tmp_path / "clumsy.py").write_text(CLUMSY)
    (tmp_path / "text").write_text("no program")
    return tmp_path


def conform(*arguments: str, options: tuple[str, ...] = ()) -> int:
    return cli.main(["conform", "-k", PATTERN, *options, "--", *arguments])


def test_a_right_program_is_as_expected_and_introduces_itself(
    programs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert conform(sys.executable, "served.py", "", "float32", "plain,momentum") == AS_EXPECTED
    out = capsys.readouterr().out
    assert "my_sgd 2.5 ┃" in out
    assert out.splitlines()[-1].startswith(f"-- {sys.executable} served.py '' float32 plain,momentum: 4 of 4")
    assert out.endswith("as expected (name my_sgd, version 2.5, language Logo, turtle 4)\n")


def test_options_after_the_dashes_belong_to_the_program(
    programs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (programs / "echo.py").write_text("import sys\nprint(sys.argv[1:])\n")
    assert conform(sys.executable, "echo.py", "--tier", "--", "-k") == COULD_NOT_RUN
    assert "['--tier', '--', '-k']" in capsys.readouterr().err


def test_what_is_claimed_has_to_be_graded(programs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert conform(sys.executable, "served.py", "momentum", "", "plain,momentum") == DIVERGES
    out = capsys.readouterr().out
    assert "NOT GRADED, though claimed: update momentum\n" in out
    assert "update plain" not in out
    assert "NOT as expected" in out


def test_claims_of_which_no_case_was_run_are_not_held_against_it(programs: Path) -> None:
    assert conform(sys.executable, "served.py", "", "float32,float64", "nesterov") == AS_EXPECTED


def test_what_is_not_claimed_need_not_be_offered(programs: Path) -> None:
    assert conform(sys.executable, "served.py", "momentum", "float32", "plain") == AS_EXPECTED


def test_each_failure_is_the_verdict_on_its_case_and_the_run_goes_on(
    programs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--json", "o.json", "--time-limit", "1.5")
    assert conform(sys.executable, "clumsy.py", options=options) == DIVERGES
    out = capsys.readouterr().out
    (run,) = json.loads(Path("o.json").read_text())["runs"]
    messages = {verdict["case"]: verdict.get("message") for verdict in run["verdicts"]}
    plain, momentum = (messages.pop(f"axes/{update}") for update in ("plain", "momentum"))
    assert momentum is None
    assert "record 0.variables[0].bits must be" in plain
    died, hung = messages["exact/plain/float32"], messages["exact/momentum/float32"]
    assert "WorkerDied: no complete answer, and the process ended with status 7" in died
    assert "tired" in died
    assert "WorkerHung: no answer within 1.5 seconds, only 100 bytes without a newline: b'{" in hung
    assert "exact/plain/float32: WorkerDied" in out
    assert "4 cases graded, held to keras; 1 exact, 0 rounding, 0 diverges, 0 unsupported, 3 error" in out


DECLARING = """
import json, sys
from dataclasses import replace
import numpy as np
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.protocol.worker import Handshake, serve

def run(case):
    print(case.id, case.config["momentum"], file=open("asked", "a"))
    if case.state is not None:
        kept = tuple(-v for v in case.state.velocities)
        case = replace(case, state=replace(case.state, velocities=kept))
    found = [dict(record) for record in reference.run(case)]
    for record in found:
        record["velocities"] = [-v for v in record["velocities"]]
        if "flushed" in sys.argv:
            zero = np.float32(0)
            record["variables"] = [np.where(abs(w) < 2.0**-126, zero, w) for w in record["variables"]]
    return found

serve(lambda: (Handshake("my_sgd", "2.5", **json.loads(sys.argv[1])), run))
"""


def declaring(
    programs: Path, pattern: str, *options: str, flushed: bool = False, **declared: Any
) -> tuple[int, list[str]]:
    """Run the program that declares something; return the exit status and the ids that it was asked."""
    (programs / "declaring.py").write_text(DECLARING)
    command = [sys.executable, "declaring.py", json.dumps(declared), *(["flushed"] if flushed else [])]
    status = cli.main(["conform", "-k", pattern, *options, "--", *command])
    asked = programs / "asked"
    return status, [line.split()[0] for line in asked.read_text().splitlines()] if asked.exists() else []


NEGATIVE = {"velocities": {"sign": -1}}


def test_what_is_not_offered_is_not_sent(programs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pattern = "^axes/(plain|momentum|nesterov|float16|momentum/clipnorm)$"
    offers = ["float32", "momentum", "filled"]
    status, asked = declaring(programs, pattern, offers=offers, **NEGATIVE)
    assert asked == ["axes/plain/filled", "axes/momentum/filled"]
    assert status == AS_EXPECTED
    assert "2 exact, 0 rounding, 0 diverges, 3 unsupported, 0 error" in capsys.readouterr().out


def test_claims_are_the_words_that_are_offered(programs: Path) -> None:
    status, asked = declaring(
        programs, "axes", "--offers", "claims", offers=["bfloat16", "callable", "filled", "fresh"], **NEGATIVE
    )
    assert status == AS_EXPECTED
    assert {"axes/bfloat16/filled", "axes/bfloat16/callable/filled"} <= set(asked)
    assert all(case_id.endswith("/filled") for case_id in asked)


def test_what_is_offered_is_a_promise(programs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = """
import json, sys
print(json.dumps({"protocol": 2, "name": "n", "version": "1", "offers": ["float32", "momentum"]}), flush=True)
for line in sys.stdin:
    print(json.dumps({"id": json.loads(line)["id"], "unsupported": "all the same"}), flush=True)
"""
    assert conform(sys.executable, "-c", program) == DIVERGES
    out = capsys.readouterr().out
    assert "NOT GRADED, though claimed: dtype float32\n" in out
    assert "NOT GRADED, though claimed: update momentum\n" in out


def test_velocities_are_read_as_they_are_declared(programs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pattern = "^(axes/momentum|structure/resumed/momentum/float32)$"
    assert declaring(programs, pattern)[0] == DIVERGES
    assert declaring(programs, pattern, **NEGATIVE)[0] == AS_EXPECTED
    assert "2 exact, 0 rounding, 0 diverges" in capsys.readouterr().out
    command = [sys.executable, "declaring.py", json.dumps(NEGATIVE)]
    assert cli.main(["explain", "axes/momentum", "--", *command]) == AS_EXPECTED


def test_flushed_subnormals_are_granted_where_they_are_declared(programs: Path) -> None:
    pattern = "^axes/momentum/subnormal$"
    assert declaring(programs, pattern, flushed=True, **NEGATIVE)[0] == DIVERGES
    assert declaring(programs, pattern, flushed=True, flush_to_zero=True, **NEGATIVE)[0] == AS_EXPECTED


def test_a_function_declares_by_its_profile(programs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (programs / "own_sgd.py").write_text("""
from sgd_ref import conformance
from sgd_ref.conformance.trajectories import reference
def run(case):
    return reference.run(case)
run.profile = conformance.Profile(
    dtypes=frozenset({"float64"}), features={"update": frozenset({"plain"})}, offers=("float32", "filled")
)
""")
    pattern = "^axes/(plain|momentum)$"
    assert cli.main(["conform", "own_sgd:run", "-k", pattern]) == AS_EXPECTED
    assert "1 exact, 0 rounding, 0 diverges, 1 unsupported" in capsys.readouterr().out


def test_a_case_is_explained_as_it_was_asked(programs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    declared = {"offers": ["float32", "momentum", "filled"], **NEGATIVE}
    declaring(programs, "^axes/momentum$", **declared)
    capsys.readouterr()
    command = [sys.executable, "declaring.py", json.dumps(declared)]
    for case_id in ("axes/momentum", "axes/momentum/filled"):
        assert cli.main(["explain", case_id, "--", *command]) == AS_EXPECTED
        assert capsys.readouterr().out.startswith("axes/momentum/filled: ")
    assert cli.main(["explain", "axes/nesterov", "--", *command]) == COULD_NOT_RUN
    assert "unsupported: its profile does not offer nesterov" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("is_hidden", [True, False])
def test_wider_state_is_read_as_it_is_declared(programs: Path, is_hidden: bool) -> None:
    program = programs / "wide.py"
    program.write_text("""
import json, sys
from sgd_ref.conformance.faithful.hidden import HiddenFloat64
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.protocol.worker import Handshake, serve
run = lambda case: reference.run(case, HiddenFloat64)
serve(lambda: (Handshake("wide", "1", hidden_wider_state=json.loads(sys.argv[1])), run))
""")
    command = [sys.executable, "wide.py", json.dumps(is_hidden)]
    found = cli.main(["conform", "-k", "^axes/momentum/decimal$", "--", *command])
    assert found == (AS_EXPECTED if is_hidden else DIVERGES)


def test_a_command_may_be_longer_than_the_name_of_a_file(programs: Path) -> None:
    program = f"""# {"x" * 300}
from sgd_ref.conformance.protocol.worker import Handshake, serve
from sgd_ref.conformance.trajectories.reference import run
serve(lambda: (Handshake("long", "1"), run))
"""
    assert conform(sys.executable, "-c", program) == AS_EXPECTED


def test_a_program_of_an_older_protocol_is_asked_as_ever(programs: Path) -> None:
    program = """
import json, sys
print('{"protocol": 1, "name": "old", "version": "1", "features": {"update": ["plain"]}}', flush=True)
for line in sys.stdin:
    print(json.dumps({"id": json.loads(line)["id"], "unsupported": "all"}), flush=True)
    print(sorted(json.loads(line)), file=open("keys", "a"))
"""
    assert conform(sys.executable, "-c", program) == DIVERGES
    keys = {*(programs / "keys").read_text().splitlines()}
    assert keys == {
        "['config', 'excluded_from_weight_decay', 'exposes', 'features', 'finalize', 'gradients', 'id', "
        "'kind', 'learning_rate_calls', 'learning_rate_units', 'loss_scaling', 'names', 'notes', 'state', "
        "'variables']"
    }


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            [sys.executable, "-c", """print('{"protocol": 3, "name": "n", "version": "1", "rays": true}')"""],
            "the handshake: protocol must be 1 or 2; the program needs a newer sgd-ref, got 3",
        ),
        (["./nothing"], "No such file or directory: './nothing'"),
        (["./text"], "Permission denied: './text'"),
        ([sys.executable, "-c", "raise SystemExit('no luck')"], "ended with status 1; .*no luck"),
        ([sys.executable, "-c", "print('hello')"], "the handshake: not a line of JSON"),
        ([sys.executable, "-c", "import time; time.sleep(600)"], "no answer within 0.5 seconds"),
        (
            [sys.executable, "-c", """print('{"protocol": 1, "name": "n", "version": "1", "dtypes": 3}')"""],
            "the handshake: dtypes must be a list of strings, got 3",
        ),
    ],
)
def test_programs_that_cannot_be_run(
    programs: Path, capsys: pytest.CaptureFixture[str], command: list[str], message: str
) -> None:
    options = ("--start-limit", "0.5") if "sleep" in command[-1] else ()
    assert conform(*command, options=options) == COULD_NOT_RUN
    out = " ".join(capsys.readouterr().err.split())
    assert f"sgd-ref: -- {command[0]}" in out
    assert re.search(message, out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--"], "-- must be followed by a program and its arguments"),
        (["keras", "--", "./my_sgd"], "TARGET must be left out for a program after --, got 'keras'"),
        (
            ["--backend", "jax", "--", "./my_sgd"],
            "--backend must be left out for a program after --, got 'jax'",
        ),
        (["--update", "--", "./my_sgd"], "--update must go with --ledger for a program after --"),
        (["--update", "my_module:run"], "--update must go with --ledger for my_module:run"),
        (["keras", "--time-limit", "3"], "--time-limit must go with a program after --"),
        (["--start-limit", "0", "--", "./my_sgd"], "'0' is no number of seconds above 0"),
        (["--time-limit", "nan", "--", "./my_sgd"], "'nan' is no number of seconds above 0"),
        (["--time-limit", "soon", "--", "./my_sgd"], "'soon' is no number of seconds above 0"),
        (["--page", "--", "./my_sgd"], "--page must go with keras, torch, optax"),
    ],
)
def test_wrong_usage(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["conform", *arguments])
    assert stopped.value.code == WRONG_USAGE
    assert message in capsys.readouterr().err
