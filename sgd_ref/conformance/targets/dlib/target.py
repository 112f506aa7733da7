"""dlib as a target: its offered features and its documented rule."""

from __future__ import annotations

import os
from pathlib import Path

from sgd_ref.conformance.targets.environments import starters
from sgd_ref.conformance.targets.environments.environment import Environment
from sgd_ref.conformance.targets.environments.isolated import Isolation, isolated_family

HERE = Path(__file__).parent
STARTER, VERSION = "sgd.cpp", "20.0.1"

SOLVERS = "https://github.com/davisking/dlib/blob/v20.0.1/dlib/dnn/solvers_abstract.h"

BY_DESIGN = {
    # The documented formula has momentum, weight decay and rate as factors, also where one of them is 0.
    "decay-enters-velocity": SOLVERS,
    "zero-momentum-multiplied": SOLVERS,
    "unset-decay-multiplied": SOLVERS,
}

EDITS = {
    "struct Settings {": "struct Settings {\n    double weight_decay;",
    "Settings settings = {": 'const Json &decay = config["weight_decay"];\n'
    "    Settings settings = {decay.is_there() ? decay.number : 0, ",
}
"""Parts of the starter with their replacements, which read one more setting."""

NEEDED = (
    "cuda/cpu_dlib.cpp",
    "cuda/tensor_tools.cpp",
    "threads/async.cpp",
    "threads/thread_pool_extension.cpp",
    "threads/threads_kernel_2.cpp",
    "threads/threads_kernel_shared.cpp",
)
"""The sources of what the solver uses; all of dlib takes minutes."""


def build(folder: Path) -> list[str]:
    """Write the program, and return the command that compiles it with the sources of dlib."""
    text = starters.path_of(STARTER).read_text(encoding="utf-8")
    function = (HERE / "step.cpp").read_text(encoding="utf-8")
    (folder / "worker.cpp").write_text(
        starters.assembled(text, function, "dlib", VERSION, EDITS), encoding="utf-8"
    )
    sources = folder / f"dlib-{VERSION}"
    return [
        os.environ.get("CXX", "c++"),
        "-std=c++17",
        "-O1",
        "-ffp-contract=off",
        "-DDLIB_NO_GUI_SUPPORT",
        f"-isystem{sources}",
        str(folder / "worker.cpp"),
        *(str(sources / "dlib" / needed) for needed in NEEDED),
        "-o",
        str(folder / "worker"),
        "-lpthread",
    ]


def _command(folder: Path) -> list[str]:
    return [str(folder / "worker")]


ISOLATION = Isolation(
    Environment(
        "dlib",
        HERE,
        python="requirements.txt",
        source=f"dlib=={VERSION}",
        build=build,
        sources=("step.cpp", "target.py"),
        starter=STARTER,
        tools=(os.environ.get("CXX", "c++"),),
        size="100 MB",
    ),
    # Its tensors are of float32, and have elements.
    offers=("float32", "filled", "scalar", "momentum", "decay", "piecewise", "callable", "missing"),
    by_design=BY_DESIGN,
    command=_command,
)

FAMILY = isolated_family(ISOLATION)
