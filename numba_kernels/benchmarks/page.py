"""The page of the benchmarks: tables of all measurements, also where the kernels are slower."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from numba_kernels.benchmarks.contest import ByPeer, Measurement
from numba_kernels.benchmarks.goals import Goal, goals
from numba_kernels.benchmarks.history import NAME, Run, latest
from numba_kernels.benchmarks.measurements import Measurements, measured, median, times_as_long
from numba_kernels.benchmarks.peers import FAMILIES, KERNELS
from numba_kernels.benchmarks.workload import NORM, Workload

INTRODUCTION = """\
# Benchmarks

Written by `sgd-ref bench --page`; all samples are in [benchmarks.json](benchmarks.json).

Each library runs in processes of its own, which take turns: A, B, C, A, B, C. In each turn a workload is set
up anew, two steps are made that do not count, and then steps are timed one by one. Where two numbers of
threads are possible, the first round decides which one a library uses. A time is the median over the rounds
of the median of each round. The ratio (x 1.5) is the time of a library divided by that of the kernels in the
same round, as the median over the rounds: above 1 the kernels are faster, below 1 they are slower. In its
first turn, each library also makes the step on three small arrays. If the result is not that of the
reference, the time is marked as that of a **wrong result**. Norms, roofs and sparse gradients are not
checked.

*Momentum* is 0.9. *Everything* is clipping by the global norm, weight decay that does not enter the velocity,
Nesterov momentum and moving averages; with PyTorch that is `clip_grad_norm_`, `_foreach_mul_`, `SGD.step`
and `_foreach_lerp_`. *Plain* is without momentum. The gradients of the embedding are 1,000 rows of 1,000,000
x 64. The *roof* moves as many arrays as a step must read and write, and computes next to nothing: additions
in place in PyTorch and NumPy, one loop over all arrays in Numba. With *everything*, the roof reads the
gradients once more, as the norm does.
"""

SHOWN_RUNS = 5
SHORT = {KERNELS: "**kernels**"}


def render(found: Measurements, plots: Sequence[str] = (), runs: Sequence[Run] = ()) -> str:
    """Return the page as Markdown.

    Parameters
    ----------
    found : Measurements
        The measurements.
    plots : sequence of str
        Names of the files of plots, beside the page.
    runs : sequence of Run
        All remembered runs, this one included.
    """
    parts = [
        INTRODUCTION,
        "## Machine\n",
        table(("", ""), [(name, value) for name, value in found.machine.items()]),
        "## Goals\n",
        goals_table(goals(found)),
        *_steps(found),
        *_rows_of_section(found, "norm", "The Euclidean norm", "Of NumPy, `numpy.dot(g, g)`."),
        *_first_steps(found),
        *_rows_of_section(found, "size", "Cost by size", "One tensor of float32, momentum."),
        *_rows_of_section(found, "count", "Cost by number of tensors", "Each of 100 float32, momentum."),
        *[f"![{plot}]({plot})\n" for plot in plots],
        *_memory(found),
        *_over_time(runs),
        *_wrong(found),
        *absent(found),
    ]
    return "\n".join(parts)


def table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown, with numbers aligned to the right.

    >>> print(table(("peer", "ms"), [("numpy", "3.1")]))
    | peer | ms |
    |---|---:|
    | numpy | 3.1 |
    <BLANKLINE>
    """
    rule = "|---|" + "---:|" * (len(heading) - 1)
    first, *others = (f"| {' | '.join(row)} |" for row in (heading, *rows))
    return "\n".join([first, rule, *others, ""])


def duration(seconds: float) -> str:
    """Return a duration with three digits.

    >>> duration(0.0123456), duration(4.5e-05), duration(2.0)
    ('12.3 ms', '45.0 us', '2.00 s')
    """
    for unit, name in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        if seconds >= unit or name == "us":
            break
    value = seconds / unit
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f} {name}"


def goals_table(goals: Sequence[Goal]) -> str:
    """Return goals and their measured numbers as a table of Markdown."""
    rows = [
        (
            goal.words,
            f"{'at most' if goal.at_most else 'at least'} {goal.bound:g}",
            "" if goal.value is None else f"{goal.value:.3g}",
            goal.status,
        )
        for goal in goals
    ]
    return table(("", "goal", "measured", ""), rows)


def _steps(found: Measurements) -> Iterator[str]:
    steps = found.section("steps")
    for dtype, settings in dict.fromkeys((w.dtype, w.settings) for w, _ in steps):
        chosen = [(w, result) for w, result in steps if (w.dtype, w.settings) == (dtype, settings)]
        yield f"## A step: {settings}, {dtype}\n"
        yield _matrix(chosen)


def _rows_of_section(found: Measurements, name: str, title: str, words: str) -> Iterator[str]:
    races = found.section(name)
    if races:
        yield f"## {title}\n\n{words}\n"
        yield _matrix(races)


def _matrix(races: Sequence[tuple[Workload, ByPeer]]) -> str:
    """Return a table of peers by workloads: time, ratio and threads."""
    peers = _in_order({peer for _, result in races for peer in result if measured(result, peer)})
    heading = ("", *(SHORT.get(peer, peer) for peer in peers))
    rows = [(_name(w), *(_cell(w, result, peer) for peer in peers)) for w, result in races]
    return table(heading, rows)


def _name(workload: Workload) -> str:
    if " x " not in workload.model:
        return workload.model
    count, size = (f"{int(number):,}" for number in workload.model.split(" x "))
    return f"{count} of {size}" + (f", {workload.dtype}" if workload.settings == NORM else "")


def _cell(workload: Workload, result: ByPeer, peer: str) -> str:
    measurement = measured(result, peer)
    if measurement is None:
        return ""
    parts = [duration(measurement.seconds)]
    if peer == KERNELS and not workload.has_sparse_gradients:
        parts.append(f"{workload.bytes_moved / measurement.seconds / 1e9:.3g} GB/s")
    elif peer != KERNELS:
        times = times_as_long(result, peer)
        parts += [] if times is None else [f"x {times:.2f}"]
    return ", ".join([*parts, _threads(measurement), *["**wrong result**"] * bool(measurement.fault)])


def _threads(measurement: Measurement) -> str:
    return "1 thread" if measurement.threads == 1 else f"{measurement.threads} threads"


def _in_order(peers: set[str]) -> list[str]:
    return [peer for peer in FAMILIES if peer in peers]


def _first_steps(found: Measurements) -> Iterator[str]:
    if not found.first_steps:
        return
    yield "## The first step\n"
    yield (
        "From the start of a process to the end of its first step of momentum over ResNet-50: interpreter,\n"
        "import, arrays, compilation. Cold is with an empty folder of compiled kernels.\n"
    )
    rows = []
    for peer, steps in found.first_steps.items():
        cold, warm = (median(steps.get(key)) for key in ("cold", "warm"))
        if cold is not None and warm is not None:
            rows.append((SHORT.get(peer, peer), duration(cold), duration(warm)))
    yield table(("", "cold", "warm"), rows)


def _memory(found: Measurements) -> Iterator[str]:
    races = [(w, result) for w, result in found.section("steps") if w.elements >= 2**20]
    peers = _in_order({peer for _, result in races for peer in result if _growth(result, peer)})
    if not peers:
        return
    yield "## Memory\n\nBy how much resident memory grew at most during a step, in MiB.\n"
    rows = [(str(w), *(_growth(result, peer) for peer in peers)) for w, result in races]
    yield table(("", *(SHORT.get(peer, peer) for peer in peers)), rows)


def _growth(result: ByPeer, peer: str) -> str:
    measurement = measured(result, peer)
    return "" if measurement is None or measurement.growth is None else f"{measurement.growth / 2**20:.1f}"


def _over_time(runs: Sequence[Run]) -> Iterator[str]:
    shown = latest(runs, SHOWN_RUNS)
    if len(shown) < 2:
        return
    yield "## Over time\n"
    yield f"The goals in the last {SHOWN_RUNS} runs on each processor; all runs are in [{NAME}]({NAME}).\n"
    words = dict.fromkeys(name for run in shown for name in run.values)
    heading = ("", *(f"{run.date} {run.commit}, {run.processor}" for run in shown))
    yield table(heading, [(name, *(f"{run.values.get(name, '')}" for run in shown)) for name in words])


def _wrong(found: Measurements) -> Iterator[str]:
    rows = [
        (peer, str(race.workload), measurement.fault)
        for race, result in found.races
        for peer, measurement in result.items()
        if measurement.fault
    ]
    if rows:
        yield "## Wrong results\n"
        yield table(("peer", "workload", "what is wrong"), rows)


def absent(found: Measurements) -> Iterator[str]:
    """Yield a section on the peers that were not measured, with the reasons; nothing if all were measured."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for race, result in found.races:
        for peer, measurement in result.items():
            if measurement.absent:
                reasons.setdefault((peer, measurement.absent), []).append(str(race.workload))
    for peer, steps in found.first_steps.items():
        if "absent" in steps:
            reasons.setdefault((peer, steps["absent"]), []).append("the first step")
    if not reasons:
        return
    yield "## Not measured\n"
    yield table(
        ("peer", "why", "workloads"),
        [(peer, why, f"{len(names)}, such as {names[0]}") for (peer, why), names in reasons.items()],
    )
