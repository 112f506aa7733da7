"""``python -m numba_kernels.selfcheck.machine_code.cuda``: build all kernels, and examine their code."""

from __future__ import annotations

import argparse
import multiprocessing
import random
import re
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import TYPE_CHECKING

from numba_kernels.selfcheck.extent import usable_processors
from numba_kernels.selfcheck.machine_code.cuda import pins
from numba_kernels.selfcheck.machine_code.cuda.building import CAPABILITY, Code, build, require_compiler
from numba_kernels.selfcheck.machine_code.cuda.errors import CouldNotRun
from numba_kernels.selfcheck.machine_code.cuda.requirements import broken
from numba_kernels.selfcheck.machine_code.cuda.wheels import NEEDED, version
from numba_kernels.selfcheck.ptx import texts

if TYPE_CHECKING:
    from numba_kernels.cuda.toolkit import Kernel

AS_REQUIRED, BROKEN, WRONG_USAGE, COULD_NOT_RUN = 0, 1, 2, 3

CAPABILITIES = ("sm_80", "sm_90a")
"""The capabilities of the A100, and of the H100 and H200."""

SHOWN = ("registers", "FFMA", "float64", "FTZ", "LDG.128", "STG.128", "MUFU", "CALL")

NAME_WIDTH = 52


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: 0 as required, 1 a broken requirement, 3 could not run."""
    options = _parser().parse_args(arguments)
    try:
        require_compiler()
        names = [kernel.name for kernel in _kernels()]
        matching = [name for name in names if options.kernel.search(name)]
        if not matching:
            given = options.kernel.pattern
            print(f"--kernel must match the name of a kernel, got {given!r}", file=sys.stderr)
            return WRONG_USAGE
        wanted = share(matching, options.share, options.seed)
        if len(wanted) < len(matching):
            print(f"one kernel in {options.share}, drawn with --seed {options.seed}")
        return _check(options, names, wanted)
    # A compiler that crashes ends its process.
    except (CouldNotRun, ImportError, BrokenProcessPool) as error:
        print(f"could not run: {error}", file=sys.stderr)
        return COULD_NOT_RUN


def share(names: Sequence[str], number: int, seed: int) -> list[str]:
    """Return one name in `number`, drawn by the seed from each run of so many neighbours.

    Neighbours are kernels of one dtype and kind, so that each dtype and kind has its share.

    >>> share(["a", "b", "c", "d", "e"], 2, seed=0)
    ['b', 'd', 'e']
    >>> share(["a", "b"], 1, seed=0)
    ['a', 'b']
    """
    generator = random.Random(seed)
    return [generator.choice(names[start : start + number]) for start in range(0, len(names), number)]


def _check(options: argparse.Namespace, names: list[str], wanted: list[str]) -> int:
    started = time.perf_counter()
    capabilities = list(dict.fromkeys(options.capability or CAPABILITIES))
    versions, kept = pins.read(pins.FILE)
    print(", ".join(f"{wheel} {version(wheel)}" for wheel in NEEDED))
    print(f"{'kernel':<{NAME_WIDTH}} {'for':<7}", *(f"{measure:>9}" for measure in SHOWN))
    codes: list[Code] = []
    faults: dict[str, list[str]] = {}
    for code in _built(wanted, capabilities, options.processes, options.keep_ptx):
        found = list(broken(code))
        if not options.update:
            found += pins.differences(code, kept)
        codes.append(code)
        print(_row(code), "broken" if found else "", flush=True)
        if found:
            faults[f"{code.kernel} {code.capability}"] = found
    if not options.update:
        for capability in capabilities:
            for name in pins.stale(names, capability, kept):
                faults[f"{name} {capability}"] = [f"is in {pins.FILE.name}, but no kernel; {pins.UPDATE}"]
    if options.update:
        pins.write(pins.FILE, codes, complete=capabilities if wanted == names else ())
    for kernel, found in faults.items():
        print("\n  ".join([f"BROKEN: {kernel}", *found]))
    for line in pins.changed_versions(versions) if faults else ():
        print(line)
    print(_verdict(len(wanted), capabilities, faults, time.perf_counter() - started))
    return BROKEN if faults else AS_REQUIRED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m numba_kernels.selfcheck.machine_code.cuda", description=__doc__
    )
    parser.add_argument(
        "--capability",
        action="append",
        type=_capability,
        metavar="sm_NN",
        help=f"build for this one instead of {' and '.join(CAPABILITIES)}; can be given several times",
    )
    parser.add_argument(
        "--kernel", type=_pattern, default=re.compile(""), metavar="PATTERN", help="only kernels so named"
    )
    parser.add_argument(
        "--share", type=_number, default=1, metavar="N", help="only one kernel in N, drawn by --seed"
    )
    parser.add_argument("--seed", type=int, default=20261122, help="seed of --share (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=usable_processors(), help="how many build at a time")
    parser.add_argument(
        "--keep-ptx",
        action="store_true",
        help="also keep the PTX of the last one, for sgd-ref check --device ptx",
    )
    parser.add_argument("--update", action="store_true", help=f"write the counts into {pins.FILE.name}")
    return parser


def _capability(text: str) -> str:
    if not CAPABILITY.fullmatch(text):
        raise argparse.ArgumentTypeError(f"must be like sm_80 or sm_90a, got {text!r}")
    return text


def _number(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, got {text!r}")
    return int(text)


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"must be a regular expression, got {text!r}: {error}") from error


def _kernels() -> Iterator[Kernel]:
    from numba_kernels.cuda.device.kernels import all_kernels

    return all_kernels()


def _built(
    names: Sequence[str], capabilities: Sequence[str], processes: int, keeps_ptx: bool
) -> Iterator[Code]:
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    context.set_forkserver_preload([__name__, "numba_kernels.cuda.device.kernels"])
    # Each kernel has its own process, since the code depends slightly on earlier compilations.
    with ProcessPoolExecutor(min(processes, len(names)), context, max_tasks_per_child=1) as pool:
        for codes in pool.map(partial(_build, capabilities=capabilities, keeps_ptx=keeps_ptx), names):
            yield from codes


def _build(name: str, capabilities: Sequence[str], keeps_ptx: bool) -> list[Code]:
    (kernel,) = (kernel for kernel in _kernels() if kernel.name == name)
    return build(kernel, *capabilities, keep_ptx=partial(texts.keep, name) if keeps_ptx else None)


def _row(code: Code) -> str:
    numbers = " ".join(f"{code.measures[measure]:>9}" for measure in SHOWN)
    return f"{code.kernel:<{NAME_WIDTH}} {code.capability:<7} {numbers}"


def _verdict(count: int, capabilities: Sequence[str], faults: dict[str, list[str]], seconds: float) -> str:
    number, places = sum(map(len, faults.values())), len(faults)
    start = f"BROKEN: {number} in {places} pieces of machine code; looked at" if faults else "as required:"
    return f"{start} {count} kernels for {' and '.join(capabilities)}, in {seconds:.0f} s"
