"""Optax as a target."""

from __future__ import annotations

from contextlib import AbstractContextManager

from sgd_ref.conformance.catalogue.case import Implementation
from sgd_ref.conformance.targets.explaining import FLUSHED, known_target
from sgd_ref.conformance.targets.optax import known as optax_known
from sgd_ref.conformance.targets.optax import launch as optax
from sgd_ref.conformance.targets.optax import script
from sgd_ref.conformance.targets.optax.releases import releases
from sgd_ref.conformance.targets.target import CannotRun, Family, Option, Target


def _member(mode: str) -> Target:
    name = f"optax {mode}"

    def start() -> AbstractContextManager[Implementation]:
        missing = optax.obstacle()
        if missing is not None:
            raise CannotRun(f"{name}: {missing}")
        return optax.Optax(mode)

    known = optax_known.KNOWN[mode]
    return known_target(
        name,
        start,
        lambda case: tuple(dict.fromkeys((*optax_known.expected(case, mode), FLUSHED))),
        known.deviations,
        known.failures,
        "optax",
    )


FAMILY = Family(
    {"mode": Option(optax.MODES, "called as it is, or jitted with Optax")},
    _member,
    script.how_to_run,
    releases=releases,
    takes_optimizers=True,
)
