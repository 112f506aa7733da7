"""TensorFlow.js as a target: its offered features, its documented rule, and its known deviations."""

from __future__ import annotations

from pathlib import Path

from sgd_ref.conformance.grading.velocities import Velocities
from sgd_ref.conformance.targets.environments import starters
from sgd_ref.conformance.targets.environments.environment import Environment
from sgd_ref.conformance.targets.environments.isolated import Isolation, isolated_family

HERE = Path(__file__).parent
STARTER, VERSION = "sgd.mjs", "4.22.0"

# It has the momentum of TensorFlow, whose page states the formula; its own page does not.
MOMENTUM = "https://www.tensorflow.org/api_docs/python/tf/compat/v1/train/MomentumOptimizer"

EVIDENCE: dict[str, str] = {}


def build(folder: Path) -> list[str]:
    """Write the worker, and return the command that checks its syntax."""
    text = starters.path_of(STARTER).read_text(encoding="utf-8")
    function = (HERE / "step.mjs").read_text(encoding="utf-8")
    worker = folder / "worker.mjs"
    worker.write_text(starters.assembled(text, function, "tfjs", VERSION), encoding="utf-8")
    return ["node", "--check", str(worker)]


def _command(folder: Path) -> list[str]:
    return ["node", str(folder / "worker.mjs")]


ISOLATION = Isolation(
    Environment(
        "tfjs",
        HERE,
        npm="package-lock.json",
        build=build,
        sources=("step.mjs", "target.py"),
        starter=STARTER,
        tools=("node", "npm"),
        size="300 MB",
    ),
    offers=("float32", "momentum", "nesterov", "piecewise", "callable", "missing"),
    by_design={"rate-outside-velocity": MOMENTUM},
    evidence=EVIDENCE,
    velocities=Velocities(-1, True),
    command=_command,
)

FAMILY = isolated_family(ISOLATION)
