"""``sgd-ref check --device cuda``, as far as it can be tried without a device: in the simulator."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from numba_kernels.cuda import simulated as memory_of_host
from numba_kernels.cuda.arrays.allocation import to_host, to_numba
from numba_kernels.cuda.arrays.arrays import view
from numba_kernels.cuda.device import exact
from numba_kernels.cuda.toolkit import IS_SIMULATED
from numba_kernels.selfcheck import product
from numba_kernels.selfcheck.comparison import by_kernels, compare_cases
from numba_kernels.selfcheck.device import compute_sanitizer, far, graphs, libraries, places, runner
from numba_kernels.selfcheck.device.on_device import OnDevice
from numba_kernels.selfcheck.extent import QUICK, STANDARD, Extent
from numba_kernels.selfcheck.making import dense_case, random_numbers
from numba_kernels.selfcheck.result import Result
from numba_kernels.shared.element import CLASSIC, PLAIN, Variant
from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT32

simulated = pytest.mark.skipif(not IS_SIMULATED, reason="a device is here, and the command itself checks it")


def extent(pattern: str, tier: str = QUICK) -> Extent:
    return Extent(tier, pattern=re.compile(pattern), device="cuda")


def command(*arguments: str, simulator: str = "1") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sgd_ref.command.main", "check", "--device", "cuda", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "NUMBA_ENABLE_CUDASIM": simulator},
    )


@simulated
def test_the_command_says_that_nothing_ran_on_a_device() -> None:
    done = command("--quick", "-k", "^special/float32/no_momentum_plain/unclipped$")
    assert done.returncode == 0, done.stderr
    assert "device: none: the simulator" in done.stdout
    assert done.stdout.splitlines()[-1].startswith(
        "In the simulator: PASSED: the same bits as the definition. 0 of "
    )


@simulated
def test_without_a_device_the_command_could_not_run() -> None:
    done = command("--quick", simulator="0")
    assert done.returncode == 3
    assert done.stderr.startswith("sgd-ref: nothing was checked: there is no CUDA device: ")
    assert not done.stdout


@simulated
def test_a_pattern_that_matches_nothing_is_wrong_usage() -> None:
    assert command("--quick", "-k", "no such case").returncode == 2


def test_the_command_that_runs_a_case_again_names_the_device() -> None:
    assert extent("").command("far/float16") == "sgd-ref check --device cuda --quick -k '^far/float16$'"


def test_places_are_checked_and_missing_libraries_told() -> None:
    result = places.check(extent("^places/float32/no_momentum_plain/"))
    assert result.cases >= 14
    assert result.differing == 0
    if IS_SIMULATED:
        assert result.skipped == 8
        assert "torch finds no device" in result.reasons or "torch is not installed" in result.reasons


@simulated
def test_a_library_is_looked_for_only_if_a_case_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str | None] = []
    for module in (places, graphs):
        monkeypatch.setattr(module, "why_not", lambda library: asked.append(library) or "not here")
    monkeypatch.setattr(graphs, "IS_SIMULATED", False)
    for module in (places, graphs):
        assert module.check(extent("^no such case$")).skipped == 0
        assert asked == []
        assert module.check(extent(f"^{module.START}/float32/no_momentum_plain/")).skipped > 0
        assert asked.pop() is not None
        asked.clear()


@pytest.mark.parametrize("name", ["offset-3", "gaps"])
def test_a_move_puts_the_numbers_where_it_says(name: str) -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    moved = libraries.MOVES[name][1](array)
    found = view("moved", moved)
    assert np.array_equal(to_host(moved).reshape(3, 4), array)
    assert (found.strides == (32, 8)) == (name == "gaps")
    if name == "offset-3":
        whole = libraries.MOVES["offset-0" if "offset-0" in libraries.MOVES else "offset-4"][1](array)
        assert (found.address - view("whole", whole).address) % 16 != 0


class Wrong(OnDevice):
    """Moves a gradient that is not the one of the case."""

    def on_device(self, gradients: object) -> list[object]:
        moved = super().on_device(gradients)  # type: ignore[arg-type]
        return moved[::-1]


def test_a_wrong_bit_is_found() -> None:
    variant = Variant(CLASSIC, PLAIN, averages=False)
    case = dense_case("wrong", variant, [(9,), (9,)], FLOAT32, random_numbers(extent(""), "wrong"))
    result = Result("wrong")
    compare_cases(result, [case], extent(""), by_kernels(Wrong))
    assert result.differing > 0


@simulated
@pytest.mark.parametrize("is_forced", [False, True])
def test_where_nothing_is_decided_every_norm_is_exact(
    is_forced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    squares: list[float] = []
    add_square = exact._add_square

    def counted(limbs: object, x: float) -> None:
        squares.append(x)
        add_square(limbs, x)

    monkeypatch.setattr(exact, "_add_square", counted)
    wanted = "^product/axes/global_clipnorm/(?!.*(averages|overwrite|accumulation|fixed|dynamic))"
    share = next(product.shares(extent(wanted, STANDARD)))[:1]
    with runner.nothing_decided() if is_forced else nullcontext():
        result = product.check_share(share, extent(wanted, STANDARD), OnDevice)
    assert result.cases == 1
    assert result.differing == 0
    assert bool(squares) == is_forced


@simulated
def test_graphs_and_far_places_are_skipped_with_a_reason() -> None:
    assert graphs.check(extent("^graphs/float32/")).reasons == {"the simulator has no graphs": 48}
    assert far.check(extent("^far/", STANDARD)).reasons == {"the simulator would take days": 2}


def test_the_device_fills_with_the_bits_that_the_host_expects() -> None:
    count = 100
    memory = to_numba(np.zeros(count, BFLOAT16))
    found = view("memory", memory)
    if IS_SIMULATED:
        memory_of_host.allow([(found.address, 2 * count)])
    far._filling().launch(2, 8, 0, found.address, count, far.SEED_OF_GRADIENT)
    bits = far.bits_at(np.arange(count), far.SEED_OF_GRADIENT)
    assert np.array_equal(to_host(memory).view(np.uint16), bits)
    assert len(np.unique(bits)) > 90


@pytest.mark.parametrize(("status", "differing"), [(0, 0), (9, 1), (3, 1)])
def test_what_the_memory_checker_finds_counts(
    status: int, differing: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / compute_sanitizer.TOOL
    tool.write_text(f"#!/bin/sh\necho Invalid access $*\nexit {status}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(compute_sanitizer, "IS_SIMULATED", False)
    result = compute_sanitizer.check(extent(""))
    assert (result.cases, result.differing) == (1, differing)
    assert all("Invalid access --tool memcheck" in text for text in result.differences)


def test_without_the_memory_checker_its_check_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute_sanitizer, "IS_SIMULATED", False)
    monkeypatch.setenv("PATH", "")
    assert compute_sanitizer.check(extent("")).reasons == {
        "compute-sanitizer of the CUDA toolkit is not on the path": 1
    }
    assert not compute_sanitizer.check(extent("^far/")).skipped
