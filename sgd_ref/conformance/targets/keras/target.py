"""Keras as a target."""

from __future__ import annotations

from contextlib import AbstractContextManager

from sgd_ref.conformance.catalogue.case import Implementation
from sgd_ref.conformance.targets.explaining import known_target
from sgd_ref.conformance.targets.keras import script
from sgd_ref.conformance.targets.keras.known import KNOWN
from sgd_ref.conformance.targets.keras.launch import BACKENDS, MODES, Keras, obstacle
from sgd_ref.conformance.targets.keras.releases import releases
from sgd_ref.conformance.targets.target import CannotRun, Family, Option, Target


def _member(backend: str, mode: str) -> Target:
    name = f"keras {backend} {mode}"

    def start() -> AbstractContextManager[Implementation]:
        missing = obstacle(backend)
        if missing is not None:
            raise CannotRun(f"{name}: {missing}")
        return Keras(backend, mode)

    known = KNOWN[backend, mode]
    return known_target(name, start, lambda case: tuple(known.deviations), known.deviations, known.failures)


FAMILY = Family(
    {
        "backend": Option(BACKENDS, "the backend of Keras"),
        "mode": Option(MODES, "called as it is, or compiled as Keras' fit compiles it"),
    },
    _member,
    script.how_to_run,
    {("torch", "compiled"): "fit() does not compile on PyTorch: what it runs there is the eager mode"},
    releases=releases,
)
