"""What the run of a target costs: its time, and the space of its environment on the disk."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from sgd_ref.conformance.targets.findings.processor import processor
from sgd_ref.conformance.targets.registry import FAMILIES

FILE = "cost.json"

MEGABYTE = 10**6


@dataclass(frozen=True)
class Cost:
    """The cost of one run.

    Attributes
    ----------
    seconds : int
        From the start of the target until its last mismatch was explained.
    busy : int or None
        Seconds of processor time of the command and of the process of the target; None where a command runs
        several targets.
    load : float or None
        The average number of busy processes for each processor in the last five minutes of the run, the run
        itself among them; None where the system does not tell.
    processor : str or None
        The processor; None if nothing is known of it.
    megabytes : int or None
        The size of the environment on the disk; None for a target without an environment of its own.
    """

    seconds: int
    busy: int | None
    load: float | None
    processor: str | None
    megabytes: int | None


def of_run(target: str, seconds: float, busy: float | None = None) -> Cost:
    """Return the cost of a run that has just ended.

    Parameters
    ----------
    target : str
        The name of the target.
    seconds : float
        How long it took.
    busy : float, optional
        The processor time that it took.
    """
    family = FAMILIES.get(target.partition(" ")[0])
    environment = None if family is None else family.environment
    size = None if environment is None else size_of(environment.folder)
    return Cost(round(seconds), None if busy is None else round(busy), _load(), processor(), size)


def busy_until_now() -> float:
    """Return the processor time of this process and of the processes that it has started and waited for."""
    return sum(os.times()[:4])


def size_of(folder: Path) -> int:
    """Return the space of a folder on the disk, in megabytes; a file of two names counts once.

    >>> size_of(Path("/nowhere"))
    0
    """
    blocks: dict[tuple[int, int], int] = {}
    for path in folder.rglob("*"):
        state = path.lstat()
        # Where the system does not count blocks, there is the length of the file.
        blocks[state.st_dev, state.st_ino] = getattr(state, "st_blocks", -(-state.st_size // 512)) * 512
    return round(sum(blocks.values()) / MEGABYTE)


def to_text(cost: Cost) -> str:
    """Return the text of the file."""
    return json.dumps(asdict(cost), indent=1) + "\n"


def read(path: Path) -> Cost:
    """Return the cost in a file.

    Raises
    ------
    ValueError
        If the file is of another form.
    """
    try:
        return Cost(**json.loads(path.read_text(encoding="utf-8")))
    except (TypeError, ValueError) as problem:
        raise ValueError(f"{path} holds no cost: {problem}") from problem


def rows(costs: Mapping[str, Cost]) -> Iterator[list[str]]:
    """Yield the rows of a table of costs, by the names of the targets."""
    for name, cost in costs.items():
        busy = "unknown" if cost.busy is None else f"{cost.busy:,} s"
        load = "unknown" if cost.load is None else f"{cost.load:.1f}"
        size = "that of sgd-ref" if cost.megabytes is None else f"{cost.megabytes:,} MB"
        yield [name, f"{cost.seconds:,} s", busy, load, size, cost.processor or "unknown"]


def in_all(costs: Mapping[str, Cost]) -> str:
    """Return the sum of the environments, in words.

    >>> in_all({"a": Cost(1, 1, None, None, 700), "b": Cost(1, 1, None, None, 650)})
    '2 environments take 1.4 GB together, the largest 0.7 GB.'
    """
    sizes = [cost.megabytes for cost in costs.values() if cost.megabytes is not None]
    return (
        f"{len(sizes)} environments take {sum(sizes) / 1000:.1f} GB together, "
        f"the largest {max(sizes, default=0) / 1000:.1f} GB."
    )


def _load() -> float | None:
    try:
        return round(os.getloadavg()[1] / (os.cpu_count() or 1), 1)
    except (AttributeError, OSError):
        return None
