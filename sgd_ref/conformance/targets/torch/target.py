"""PyTorch as a target."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace

from sgd_ref.conformance.catalogue.case import Implementation
from sgd_ref.conformance.targets.explaining import known_target
from sgd_ref.conformance.targets.target import CannotRun, Family, Option, Target
from sgd_ref.conformance.targets.torch import known as torch_known
from sgd_ref.conformance.targets.torch import launch as torch
from sgd_ref.conformance.targets.torch import script
from sgd_ref.conformance.targets.torch.releases import releases

RULE = "pytorch"

FEW_RUNS = 25
"""The number of runs to shrink a case if torch.compile compiles anew for each run, which takes seconds."""


def _member(variant: str) -> Target:
    name = f"torch {variant}"

    def start() -> AbstractContextManager[Implementation]:
        missing = torch.obstacle(variant)
        if missing is not None:
            raise CannotRun(f"{name}: {missing}")
        return torch.Torch(variant)

    known = torch_known.KNOWN[variant]
    target = known_target(
        name,
        start,
        lambda case: torch_known.expected(case, variant),
        known.deviations,
        known.failures,
        RULE,
    )
    return replace(target, runs_to_shrink=FEW_RUNS) if variant == "compiled" else target


FAMILY = Family(
    {"variant": Option(torch.VARIANTS, "how torch.optim.SGD goes through the parameters")},
    _member,
    script.how_to_run,
    releases=releases,
    takes_optimizers=True,
    by_design=tuple(script.ASKED),
)
