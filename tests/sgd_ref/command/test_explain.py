"""``sgd-ref explain``: which case, what is shown of it, and where an implementation parts from it."""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path

import pytest

from sgd_ref.command import main as cli
from sgd_ref.command.lookup import element, find_case
from sgd_ref.command.options import COULD_NOT_RUN, DIVERGES, WRONG_USAGE
from sgd_ref.conformance.catalogue.tiers import cases
from sgd_ref.conformance.deviations import DEVIATIONS
from sgd_ref.conformance.dialects import Dialect
from sgd_ref.conformance.golden.tools.recording import write_recorded
from sgd_ref.conformance.targets.keras.launch import available
from sgd_ref.conformance.trajectories import reference

on = pytest.mark.parametrize

MOMENTUM = "axes/momentum"

WRONG = """
from sgd_ref.conformance import Unsupported
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.deviations import DEVIATIONS

def same(case):
    return reference.run(case)

def quotient(case):
    return reference.run(case, DEVIATIONS["averages-on-every-call"].optimizer)

def unheard_of(case):
    trajectory = reference.run(case)
    trajectory[3]["variables"][0].reshape(-1)[2] += 1
    return trajectory

def later(case):
    trajectory = reference.run(case, DEVIATIONS["ascends"].optimizer)
    trajectory[5]["variables"][0].reshape(-1)[2] += 1
    return trajectory

def off_by_rounding(case):
    return reference.run(case, DEVIATIONS["update-fused"].optimizer)

def unsupported(case):
    raise Unsupported("no momentum here")

def losing(case):
    return reference.run(case, DEVIATIONS["velocities-lost-on-restore"].optimizer)

def counting_down(case):
    trajectory = reference.run(case)
    trajectory[2]["calls"] = -1
    return trajectory

def failing(case):
    raise OSError("no disk")
"""


@pytest.fixture
def wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "wrong", raising=False)
    (tmp_path / "wrong.py").write_text(WRONG)


def explained(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    assert cli.main(["explain", *arguments]) == status
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as stop:
        cli.main(["explain", *arguments])
    assert stop.value.code == WRONG_USAGE
    return capsys.readouterr().err


def test_id_beginning_or_part_of_an_id() -> None:
    assert find_case(MOMENTUM).id == MOMENTUM
    assert find_case("named/nesterov-adds").id == "named/nesterov-adds-once"
    assert find_case("adds-once").id == "named/nesterov-adds-once"


def test_a_case_without_variables_of_some_shapes_is_found_by_its_id() -> None:
    found = find_case("axes/momentum/filled/scalar")
    assert (found.id, found.names) == ("axes/momentum/filled/scalar", ("kernel", "bias", "table", "scale"))
    with pytest.raises(ValueError, match="CASE must be an id or a part of one, got 'filled'"):
        find_case("filled")


def test_id_of_the_full_tier_alone() -> None:
    text = (
        "axes/float16/nesterov/decay/clipnorm/overwrite/accumulation-3/fixed/cosine/missing/special/decimal"
    )
    assert text not in {case.id for case in cases()}
    assert find_case(text).id == text


def test_parts_of_several_ids_list_them(capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(capsys, "axes/m")
    assert "CASE must be a part of one id, got 'axes/m', which " in message
    assert f"\n  {MOMENTUM}\n" in message
    assert re.search(r"\n  and \d+ more\n", message)
    assert len(message.splitlines()) < 30


def test_part_of_no_id(capsys: pytest.CaptureFixture[str]) -> None:
    assert "got 'nesterov-adds-twice', which no id has" in refused(capsys, "nesterov-adds-twice")


def test_element_is_a_name_and_an_index() -> None:
    assert element("layer[0]/kernel[1, 2]") == ("layer[0]/kernel", (1, 2))
    with pytest.raises(argparse.ArgumentTypeError, match="not of the form"):
        element("kernel")


def test_every_stage_of_every_call_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    out = explained(capsys, MOMENTUM)
    case = find_case(MOMENTUM)
    assert out.startswith(f"{MOMENTUM}: ")
    for call, record in enumerate(reference.run(case)):
        block = out[out.index(f"call {call} ") :].split("call ", 2)[1]
        assert [line.split("  ")[0].strip() for line in block.splitlines()[2:6]] == [
            "learning rate",
            "gradient",
            "velocity",
            "updated variable",
        ]
        assert "0x3e200000 0.15625" in block
        for quantity in ("velocities", "variables"):
            first, second, third, _ = record[quantity][0].reshape(-1)[:4]
            assert f"{first:.9g} {second:.9g} {third:.9g} ..." in block


def test_one_element_of_one_call_with_its_bits(capsys: pytest.CaptureFixture[str]) -> None:
    out = explained(capsys, MOMENTUM, "--call", "4", "--element", "kernel[6,4]")
    velocity = reference.run(find_case(MOMENTUM))[4]["velocities"][0][6, 4]
    assert f"velocity          0x{velocity.view('u4'):08x} {velocity:.9g}" in out
    assert "call 3" not in out
    assert "bias" not in out


@on(
    ("arguments", "message"),
    [
        (("--call", "9"), "--call must be from 0 to 8"),
        (("--element", "kernl[0]"), "--element must name one of kernel, bias"),
        (("--element", "kernel[7,0]"), "--element must be an index into kernel of shape (7, 5), got [7, 0]"),
        (("--element", "kernel[0]"), "--element must be an index into kernel of shape (7, 5), got [0]"),
        (("--element", "kernel"), "'kernel' is not of the form name[i,j]"),
        (("nowhere",), "the target must be"),
    ],
)
def test_wrong_usage(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str) -> None:
    assert message in refused(capsys, MOMENTUM, *arguments)


def test_target_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain", MOMENTUM, "no_such_module:run"]) == COULD_NOT_RUN
    assert "ModuleNotFoundError" in capsys.readouterr().err


def test_same_bits(wrong: None, capsys: pytest.CaptureFixture[str]) -> None:
    out = explained(capsys, MOMENTUM, "wrong:same")
    assert out.splitlines()[-1] == "wrong:same: exact: the bits of the rule of keras in all 9 records"
    assert "apart " not in out.replace("units apart", "")


def test_known_deviation_is_named_with_the_first_difference(
    wrong: None, capsys: pytest.CaptureFixture[str]
) -> None:
    out = explained(capsys, "averages-while-accumulating", "wrong:quotient", status=DIVERGES)
    assert re.search(r"first difference is at call 0, averages of \w+\[.*\]: expected 0x00000000 \(0\)", out)
    assert "its stage: this call is to leave it alone" in out
    assert "known deviation: averages-on-every-call: Averages, and overwrites by them, happen on" in out
    assert "the first value that no faithful evaluation gives: call 0, averages" in out


def test_deviation_in_what_a_state_keeps_is_found_from_the_beginning(
    wrong: None, capsys: pytest.CaptureFixture[str]
) -> None:
    if "velocities-lost-on-restore" not in DEVIATIONS:
        pytest.skip("there is no such deviation")
    case = next(
        case
        for case in cases()
        if case.state is not None and any((v != 0).any() for v in case.state.velocities)
    )
    out = explained(capsys, case.id, "wrong:losing", status=DIVERGES)
    assert "known deviation: velocities-lost-on-restore: " in out


def test_state_that_the_reference_refuses_is_no_start(
    wrong: None, capsys: pytest.CaptureFixture[str]
) -> None:
    out = explained(capsys, MOMENTUM, "wrong:counting_down", "--from-observed", status=DIVERGES)
    assert "the reference starts from no state like the one that was observed: " in out
    assert "its stage: counting" in out


def test_unknown_difference_is_in_the_table_of_its_call(
    wrong: None, capsys: pytest.CaptureFixture[str]
) -> None:
    out = explained(capsys, MOMENTUM, "wrong:unheard_of", status=DIVERGES)
    wanted = reference.run(find_case(MOMENTUM))[3]["variables"][0][0, 2]
    block = out[out.index("call 3, kernel[0, 2]") : out.index("call 4, kernel[0, 2]")]
    (row,) = [line for line in block.splitlines() if line.strip().startswith("updated variable")]
    assert re.search(
        rf"0x{wanted.view('u4'):08x} \S+ +0x{(wanted + 1).view('u4'):08x} \S+ +\S+ units apart", row
    )
    assert "calls that part by themselves, from what was observed before: 3, 4" in out
    assert "its stage: updated variable" in out
    assert out.splitlines()[-1].startswith("diagnosis: it equals no known deviation")


def test_a_mistake_that_explains_the_first_calls_is_named_with_the_last_of_them(
    wrong: None, capsys: pytest.CaptureFixture[str]
) -> None:
    out = explained(capsys, MOMENTUM, "wrong:later", status=DIVERGES)
    assert "diagnosis: it equals ascends up to call 4; no known deviation explains call 5" in out
    assert "known deviation: ascends: " in out


def test_reference_can_start_from_what_was_observed(wrong: None, capsys: pytest.CaptureFixture[str]) -> None:
    # In call 4 the variable has jumped back, which only what was observed before it makes a difference.
    free = explained(capsys, MOMENTUM, "wrong:unheard_of", "--call", "4", status=DIVERGES)
    seeded = explained(
        capsys, MOMENTUM, "wrong:unheard_of", "--call", "4", "--from-observed", status=DIVERGES
    )
    rows = [line for out in (free, seeded) for line in out.splitlines() if "updated variable  " in line]
    assert rows[0].rstrip().endswith("  0")
    assert rows[1].rstrip().endswith("units apart")


def test_rounding_is_as_expected(wrong: None, capsys: pytest.CaptureFixture[str]) -> None:
    out = explained(capsys, MOMENTUM, "wrong:off_by_rounding")
    assert "wrong:off_by_rounding: rounding; the first difference is at call" in out
    assert "known deviation: update-fused: " in out


@on(
    ("function", "status", "messages"),
    [
        ("unsupported", COULD_NOT_RUN, ["wrong:unsupported: unsupported: no momentum here"]),
        ("failing", DIVERGES, ["wrong:failing: error: OSError: no disk", "OSError: no disk"]),
    ],
)
def test_no_trajectory(
    wrong: None, capsys: pytest.CaptureFixture[str], function: str, status: int, messages: list[str]
) -> None:
    lines = explained(capsys, MOMENTUM, f"wrong:{function}", status=status).splitlines()
    # A traceback stands between the message and its last line.
    assert messages[0] in lines
    assert lines[-1] == messages[-1]


PROGRAM = """
import sys
print('{"protocol":1,"name":"none","version":"1","dtypes":[],"features":{}}', flush=True)
for line in sys.stdin:
    print('{"id":' + line.split('"id":')[1].split(',')[0] + ',"unsupported":"nothing is"}', flush=True)
"""


def test_a_recorded_case_is_judged_by_the_rule_in_its_file(
    wrong: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case, path = find_case(MOMENTUM), tmp_path / "seen.json"
    ascending = Dialect("keras", frozenset(["ascends"]))
    write_recorded(case, reference.run(case, DEVIATIONS["ascends"].optimizer), path, ascending)
    exact = "recorded: exact: the bits of the rule of keras with ascends"
    assert exact in explained(capsys, str(path))
    assert "held to the rule of keras with ascends" in explained(
        capsys, str(path), "wrong:same", status=DIVERGES
    )
    assert "held to the rule of keras\n" in explained(capsys, str(path), "--rule", "keras", status=DIVERGES)


def test_a_program_is_explained_as_a_function_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "none.py").write_text(PROGRAM)
    program = (sys.executable, str(tmp_path / "none.py"))
    out = explained(capsys, MOMENTUM, "--", *program, status=COULD_NOT_RUN)
    assert out.rstrip().endswith("unsupported: nothing is")
    assert "-- must be followed by a program" in refused(capsys, MOMENTUM, "--")
    assert "TARGET must be left out for a program after --" in refused(
        capsys, MOMENTUM, "keras", "--", *program
    )


def test_real_divergence_of_keras(capsys: pytest.CaptureFixture[str]) -> None:
    if not available("jax"):
        pytest.fail("JAX is not installed") if os.environ.get("CI") else pytest.skip("JAX is not installed")
    out = explained(capsys, "averages-while-accumulating", "keras", "--backend", "jax", "--call", "0")
    assert "keras jax eager: diverges; the first difference is at call 0, averages of" in out
    assert re.search(r"averages, left alone +0x00000000 0 +0x\w+ \S+ +\S+ units apart", out)
    assert "known deviation: averages-on-every-call" in out
