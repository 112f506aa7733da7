"""The known deviations by name, so that a case only needs to name those that it exposes."""

from __future__ import annotations

from collections.abc import Iterable

from sgd_ref.conformance.deviations import DEVIATIONS, Deviation
from sgd_ref.conformance.deviations.mistakes.mistake import ADDRESS
from sgd_ref.conformance.golden.content.bounds import first_outside
from sgd_ref.conformance.golden.format.document import hashed
from sgd_ref.conformance.golden.format.entries import Entry
from sgd_ref.conformance.golden.format.provenance import provenance
from sgd_ref.conformance.grading.check import private_copy
from sgd_ref.conformance.protocol.encoding import Json
from sgd_ref.conformance.trajectories import reference


def deviation_entries() -> list[Json]:
    """Return for each known deviation a sentence on it, and the address where somebody reported it.

    >>> deviation_entries()[0]["id"]
    'deviation/subnormals-flushed'
    """
    return [
        hashed(
            {
                "id": f"deviation/{name}",
                "kind": deviation.kind,
                "summary": deviation.summary,
                "address": _address(deviation),
                "provenance": provenance(__name__),
            }
        )
        for name, deviation in DEVIATIONS.items()
    ]


def _address(deviation: Deviation) -> str:
    found = ADDRESS.search(deviation.description)
    return deviation.address or (found.group() if found else "")


def exposed(entry: Entry, names: Iterable[str] = tuple(DEVIATIONS)) -> tuple[str, ...]:
    """Return which of the known deviations are outside of the stored bounds of an entry, or fail."""
    return tuple(name for name in names if is_outside(entry, name))


def is_outside(entry: Entry, name: str) -> bool:
    """Whether a known deviation is outside of the stored bounds of an entry, or fails."""
    deviation = DEVIATIONS[name]
    try:
        # Some deviations spoil the gradients that they are given.
        trajectory = reference.run(private_copy(entry.case), deviation.optimizer, deviation.wrapper)
    # Some deviations cannot run at all in some cases, which is always noticed.
    except Exception:
        return True
    return first_outside(entry.expected, entry.bounds, trajectory) is not None
