"""The page of the benchmarks on a device: a table for each workload, also where the kernels are slower."""

from __future__ import annotations

from collections.abc import Iterator

from numba_kernels.benchmarks.contest import ByPeer
from numba_kernels.benchmarks.device.comparing import speed_over
from numba_kernels.benchmarks.device.goals import goals
from numba_kernels.benchmarks.device.peers import KERNELS, ROOFS, TORCH
from numba_kernels.benchmarks.device.suite import CALLS, STEPS
from numba_kernels.benchmarks.measurements import Measurements, measured
from numba_kernels.benchmarks.page import absent, duration, goals_table, table
from numba_kernels.benchmarks.workload import Workload

INTRODUCTION = """\
# Benchmarks on a device

Written by `sgd-ref bench --device cuda --page`; all samples are in
[benchmarks_cuda.json](benchmarks_cuda.json).

Each library runs in a process of its own, and they take turns: A, B, C, A, B, C. In each turn a workload is
set up anew; steps are made that do not count, whatever is compiled is compiled in them, and then steps are
timed in batches of about 10 milliseconds between two synchronisations with the device. A time is the median
over the rounds of the median of each, a ratio the median over the rounds of the ratio in each. The clocks of
the device are as they were. Before the kernels are timed, they have to give the bits of
`numba_kernels.SGD` on 7 tensors of 1,000 with the same settings; otherwise they are not measured.

*Momentum* is 0.9. *Everything* is clipping by the global norm, weight decay that stays out of the velocity,
Nesterov momentum and moving averages; with PyTorch that is `clip_grad_norm_`, `_foreach_mul_`, `SGD.step`
and `_foreach_lerp_`. *Compiled* is the same under `torch.compile`, but without writing the clipped gradients.
*Graph* is a step that was captured in a CUDA graph, with PyTorch the fused one.
Without a compiler, PyTorch reads and writes 13 arrays for everything (1 for the norm, 2 to clip, 2 for the
decay, 5 for the step, 3 for the average) where 8 are enough, so that the kernels can be 1.63 times as fast at
most; with a compiler it reads and writes 8, too.

The *roof* copies from device memory to device memory, and reads and writes together as many bytes as a step
has to at least: reading gradients, variables and state once, and the gradients once more for a norm, and
writing variables and state once. GB/s are those bytes by the time of a step, whatever a library really moved.
A library is at 1.00 *of the roof* if it is as fast as the copy, and at 2.00 *of PyTorch's best* if it takes
half as long as the fastest one of PyTorch.
"""

WORDS_OF_CALLS = """\
How long the host is busy with starting a step of 200 tensors of 1,000, in rows of 10 calls that are not
waited for; above 1, the host is free sooner than with PyTorch's best.
"""


def render(found: Measurements) -> str:
    """Return the page as Markdown."""
    return "\n".join(
        [
            INTRODUCTION,
            "## Machine\n",
            table(("", ""), list(found.machine.items())),
            "## Goals\n",
            goals_table(goals(found)),
            *_steps(found),
            *_calls(found),
            *absent(found),
        ]
    )


def _steps(found: Measurements) -> Iterator[str]:
    heading = ("", "a step", "GB/s", "of the roof", "of PyTorch's best")
    for workload, result in found.section(STEPS):
        yield f"## {workload}\n"
        yield table(heading, [_row_of_steps(workload, result, peer) for peer in _peers(result)])


def _row_of_steps(workload: Workload, result: ByPeer, peer: str) -> tuple[str, ...]:
    seconds = result[peer].seconds
    rate = f"{workload.bytes_moved / seconds / 1e9:,.0f}"
    return (_name(peer), duration(seconds), rate, _speed(result, peer, ROOFS), _speed(result, peer, TORCH))


def _calls(found: Measurements) -> Iterator[str]:
    races = found.section(CALLS)
    if races:
        yield f"## Launch cost\n\n{WORDS_OF_CALLS}"
    for workload, result in races:
        rows = [
            (_name(peer), duration(result[peer].seconds), _speed(result, peer, TORCH))
            for peer in _peers(result)
        ]
        yield f"### Launch cost of {workload}\n"
        yield table(("", "a call", "of PyTorch's best"), rows)


def _peers(result: ByPeer) -> list[str]:
    return [peer for peer in result if measured(result, peer)]


def _name(peer: str) -> str:
    return f"**{peer}**" if peer in KERNELS else peer


def _speed(result: ByPeer, peer: str, others: tuple[str, ...]) -> str:
    speed = speed_over(result, (peer,), others)
    return "" if speed is None else f"{speed:.2f}"
