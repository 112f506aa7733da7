"""LibTorch as a target: its offered features and its known deviations."""

from __future__ import annotations

import os
from pathlib import Path

from sgd_ref.conformance.grading.velocities import Velocities
from sgd_ref.conformance.targets.environments import starters
from sgd_ref.conformance.targets.environments.environment import Environment
from sgd_ref.conformance.targets.environments.isolated import Isolation, isolated_family

HERE = Path(__file__).parent
STARTER, VERSION = "sgd.cpp", "2.13.0"

EDITS = {
    "struct Settings {": "struct Settings {\n    double weight_decay, clipnorm, clipvalue;",
    "Settings settings = {": 'Settings settings = {number_or_0(config, "weight_decay"), '
    'number_or_0(config, "clipnorm"), number_or_0(config, "clipvalue"), ',
    "std::string trajectory_of(": "double number_or_0(const Json &config, const std::string &key) {\n"
    "    return config[key].is_there() ? config[key].number : 0;\n"
    "}\n\n"
    "std::string trajectory_of(",
}
"""Parts of the starter with their replacements, which read more settings."""


def build(folder: Path) -> list[str]:
    """Write the program, and return the command that compiles it against the wheel of PyTorch."""
    text = starters.path_of(STARTER).read_text(encoding="utf-8")
    function = (HERE / "step.cpp").read_text(encoding="utf-8")
    (folder / "worker.cpp").write_text(
        starters.assembled(text, function, "libtorch", VERSION, EDITS), encoding="utf-8"
    )
    (torch,) = folder.glob("python/lib/python*/site-packages/torch")
    include, libraries = torch / "include", torch / "lib"
    return [
        os.environ.get("CXX", "c++"),
        "-std=c++20",
        "-O1",
        "-ffp-contract=off",
        f"-isystem{include}",
        f"-isystem{include / 'torch' / 'csrc' / 'api' / 'include'}",
        str(folder / "worker.cpp"),
        "-o",
        str(folder / "worker"),
        f"-L{libraries}",
        f"-Wl,-rpath,{libraries}",
        "-ltorch",
        "-ltorch_cpu",
        "-lc10",
    ]


def _command(folder: Path) -> list[str]:
    return [str(folder / "worker")]


EVIDENCE = {
    "norm-of-rounded-squares": "nn/utils/clip_grad.h, `clip_grad_norm_`: `norm(norm_type)` adds squares in "
    "float32, or in float64, where they overflow; their underflow is hidden by the 1e-6 that is added",
}

ISOLATION = Isolation(
    Environment(
        "libtorch",
        HERE,
        python="requirements.txt",
        build=build,
        sources=("step.cpp", "target.py"),
        starter=STARTER,
        tools=(os.environ.get("CXX", "c++"),),
        size="1 GB",
    ),
    # The starter makes sparse gradients dense.
    offers=(
        "dtype",
        "momentum",
        "nesterov",
        "decay",
        "clipnorm",
        "clipvalue",
        "piecewise",
        "callable",
        "missing",
    ),
    rule="pytorch",
    evidence=EVIDENCE,
    velocities=Velocities(-1, True),
    command=_command,
)

FAMILY = isolated_family(ISOLATION)
