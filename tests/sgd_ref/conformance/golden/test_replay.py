"""Every golden case, replayed by the reference and by the kernels: the expected bits."""

from __future__ import annotations

import pytest

import numba_kernels
from sgd_ref import SGD
from sgd_ref.base.call import Call
from sgd_ref.conformance.golden.format.entries import Entry
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.trajectories.comparison import compare
from sgd_ref.optimizer import Gradients, Values
from tests.conftest import Sweep

KERNELS = getattr(numba_kernels, "SGD", None)

NO_KERNELS = "THE KERNELS ARE NOT TESTED: numba_kernels has no SGD"


def differences(entries: list[Entry], optimizer_class: type[SGD]) -> dict[str, str]:
    found = {}
    for entry in entries:
        comparison = compare(entry.case, entry.expected, reference.run(entry.case, optimizer_class))
        if not comparison.equal:
            found[entry.case.id] = str(comparison.first)
    return found


def test_the_reference(entries: list[Entry], sweep: Sweep) -> None:
    # All of them are replayed where the data are verified.
    chosen = sweep.generator.choice(len(entries), sweep.count(len(entries)), replace=False)
    assert differences([entries[index] for index in chosen], SGD) == {}


@pytest.mark.skipif(KERNELS is None, reason=NO_KERNELS)
def test_the_kernels(entries: list[Entry], sweep: Sweep) -> None:
    assert KERNELS is not None
    order = sweep.generator.permutation(len(entries))
    chosen = [entries[index] for index in order[: sweep.count(len(entries))]]
    assert differences(chosen, KERNELS) == {}


def test_another_optimizer_is_found(entries: list[Entry]) -> None:
    class Idle(SGD):
        def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
            return values

    smoke = [entry for entry in entries if entry.case.id.startswith("first/")]
    assert set(differences(smoke, Idle)) == {entry.case.id for entry in smoke}
