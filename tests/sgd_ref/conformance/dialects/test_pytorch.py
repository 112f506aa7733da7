"""The rule as code has the bits of its parts, which are known deviations, and of PyTorch itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sgd_ref.conformance import Case, cases
from sgd_ref.conformance.deviations.basis import Basis
from sgd_ref.conformance.deviations.forms import SumsKept
from sgd_ref.conformance.dialects.pytorch import PytorchSGD
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.trajectories.comparison import compare
from tests.conftest import Sweep

PARTS = Basis(("decay-enters-velocity", "zero-decay-skipped"), forms=(SumsKept,))
CASES = [case for case in cases() if case.made is None]


def uses(case: Case, *names: str) -> bool:
    return all(case.config[name] not in (None, False, 0) for name in names)


def test_it_has_the_bits_of_its_parts(sweep: Sweep) -> None:
    chosen = [CASES[i] for i in sweep.generator.permutation(len(CASES))[: sweep.count(len(CASES))]]
    # Whatever is drawn, what the rule changes occurs alone and together.
    for names in (
        ("momentum",),
        ("weight_decay",),
        ("momentum", "weight_decay"),
        ("nesterov", "weight_decay"),
    ):
        chosen += [next(case for case in CASES if uses(case, *names))]
    for case in chosen:
        found = compare(case, PARTS.run(case), reference.run(case, PytorchSGD))
        assert found.equal, f"{case.id}: {found.first}"


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("weight_decay", [None, 0.25])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_has_the_bits_of_pytorch_where_nothing_is_rounded(
    dtype: str, weight_decay: float | None, nesterov: bool
) -> None:
    torch = pytest.importorskip("torch")
    w = np.arange(-20.0, 21.0).astype(dtype)
    parameter = torch.nn.Parameter(torch.from_numpy(w.copy()))
    settings: dict[str, Any] = {"momentum": 0.5, "nesterov": nesterov}
    theirs = torch.optim.SGD([parameter], lr=0.5, weight_decay=weight_decay or 0, foreach=False, **settings)
    rates = iter([0.5, 0.25, 0.125])
    optimizer = PytorchSGD(lambda: next(rates), weight_decay=weight_decay, **settings)
    for rate in (0.5, 0.25, 0.125):
        g = np.resize(np.array([3.0, -2.0, 1.0, 0.0, -4.0], dtype), w.shape)
        parameter.grad = torch.from_numpy(g.copy())
        theirs.param_groups[0]["lr"] = rate
        theirs.step()
        optimizer.apply([g], [w])
        assert w.tobytes() == parameter.detach().numpy().tobytes()
        buffer = theirs.state[parameter]["momentum_buffer"].numpy()
        assert optimizer.velocities[0].tobytes() == buffer.tobytes()
