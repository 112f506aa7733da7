"""PyTorch as an implementation: ``torch.optim.SGD`` as users call it, in a process of its own."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys

from sgd_ref.base.installing import how_to_install
from sgd_ref.conformance.targets.framework import Framework
from sgd_ref.validation import reject_value

VARIANTS = ("loop", "foreach", "fused", "compiled")
WORKER = "sgd_ref.conformance.targets.torch.worker"

# The published results come from runs without a GPU. On small arrays, threads of the fused step wait for each
# other longer than they work, and a pool of compilers takes longer to start than a graph takes to compile.
ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "-1",
    "OMP_NUM_THREADS": "1",
    "TORCHINDUCTOR_COMPILE_THREADS": "1",
}


def available() -> bool:
    """Whether PyTorch is installed; nothing is imported to find out."""
    return importlib.util.find_spec("torch") is not None


def obstacle(variant: str) -> str | None:
    """Return the reason why a variant cannot run here, with a command that helps; None if it can.

    Raises
    ------
    ValueError
        If `variant` is not "loop", "foreach", "fused" or "compiled".

    Examples
    --------
    >>> obstacle("unrolled")
    Traceback (most recent call last):
    ValueError: variant must be one of loop, foreach, fused, compiled, got 'unrolled'
    """
    if variant not in VARIANTS:
        reject_value("variant", variant, f"one of {', '.join(VARIANTS)}")
    if not available():
        return f"PyTorch is not installed; install it with: {how_to_install('torch')}"
    # The compiler that torch._inductor.config.cpp.cxx names on a CPU.
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if variant == "compiled" and shutil.which(compiler) is None:
        return f"torch.compile needs a C++ compiler on a CPU, and {compiler} is not found"
    return None


class Torch(Framework):
    """``torch.optim.SGD`` as an implementation: call it with a case, get the trajectory.

    Parameters
    ----------
    variant : {"loop", "foreach", "fused", "compiled"}
        One tensor at a time (``foreach=False, fused=False``), ``foreach=True``, ``fused=True``, or
        ``torch.compile`` around the step with the defaults. Clipping by ``torch.nn.utils`` and averages by
        ``torch.optim.swa_utils`` take one tensor at a time in the first variant and all together in the
        others.
    time_limit : float
        Seconds for one case; the first graph that is compiled may take half a minute.

    Raises
    ------
    ValueError
        If `variant` is unknown or `time_limit` is not positive.
    ModuleNotFoundError
        If PyTorch, or for "compiled" the C++ compiler, is not installed; the message names it.

    Examples
    --------
    ``with Torch("fused") as run: trajectory = run(case)``

    >>> Torch("unrolled")
    Traceback (most recent call last):
    ValueError: variant must be one of loop, foreach, fused, compiled, got 'unrolled'
    """

    def __init__(self, variant: str, time_limit: float = 120.0) -> None:
        missing = obstacle(variant)
        if missing is not None:
            raise ModuleNotFoundError(missing)
        super().__init__(WORKER, [variant], ENVIRONMENT, time_limit)
