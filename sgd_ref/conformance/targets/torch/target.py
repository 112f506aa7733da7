"""PyTorch as a target."""

from __future__ import annotations

from contextlib import AbstractContextManager

from sgd_ref.conformance.cases.case import Implementation
from sgd_ref.conformance.targets.explaining import known_target
from sgd_ref.conformance.targets.target import CannotRun, Family, Option, Target
from sgd_ref.conformance.targets.torch import known as torch_known
from sgd_ref.conformance.targets.torch import launch as torch
from sgd_ref.conformance.targets.torch import script


def _member(variant: str) -> Target:
    name = f"torch {variant}"

    def start() -> AbstractContextManager[Implementation]:
        obstacle = torch.obstacle(variant)
        if obstacle is not None:
            raise CannotRun(f"{name}: {obstacle}")
        return torch.Torch(variant)

    known = torch_known.KNOWN[variant]
    return known_target(
        name,
        start,
        lambda case: torch_known.expected(case, variant),
        known.deviations,
        known.failures,
        torch_known.EVALUATIONS[variant],
    )


FAMILY = Family(
    {"variant": Option(torch.VARIANTS, "how torch.optim.SGD goes through the parameters")},
    _member,
    script.how_to_run,
)
