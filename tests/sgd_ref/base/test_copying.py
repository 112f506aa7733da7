"""Copies of optimizers: none trains arrays that nobody can see."""

from __future__ import annotations

import copy
import io
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import numba_kernels
import sgd_ref
from sgd_ref import LossScaleOptimizer, fit, save

SETTINGS: dict[str, Any] = {
    "learning_rate": 0.5,
    "momentum": 0.5,
    "use_ema": True,
    "gradient_accumulation_steps": 2,
    "weight_decay": 0.25,
}
NAMES = ["kernel", "bias"]
KINDS = {
    "reference": lambda: sgd_ref.SGD(**SETTINGS),
    "kernels": lambda: numba_kernels.SGD(**SETTINGS),
    "reference wrapped": lambda: LossScaleOptimizer(sgd_ref.SGD(**SETTINGS), 1.0),
    "kernels wrapped": lambda: LossScaleOptimizer(numba_kernels.SGD(**SETTINGS), 1.0),
}
every_kind = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)


def through_torch(thing: Any) -> Any:
    torch = pytest.importorskip("torch")
    buffer = io.BytesIO()
    torch.save(thing, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda thing: pickle.loads(pickle.dumps(thing)),  # noqa: S301
    "torch.save": through_torch,
}
every_copy = pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)

COPY = "this optimizer is a copy, and its variables are copies; "
UNGIVEN = f"^variables must be given: {COPY}.* by rebind\\(variables\\)$"


def gradients(names: list[str], call: int) -> list[Any]:
    return [np.full(2, NAMES.index(name) + call + 1, np.float32) for name in names]


def go_on(optimizer: Any, names: list[str], first: int, last: int) -> None:
    for call in range(first, last):
        optimizer.apply(gradients(names, call))


def trained(make: Any) -> tuple[Any, list[Any]]:
    variables = [np.zeros(2, np.float32), np.ones(2, np.float32)]
    optimizer = make()
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    optimizer.build(variables, NAMES)
    go_on(optimizer, NAMES, 0, 3)
    return optimizer, variables


def inner(optimizer: Any) -> Any:
    return getattr(optimizer, "inner_optimizer", optimizer)


def everything(optimizer: Any, variables: list[Any]) -> list[Any]:
    arrays = [*variables, *optimizer.variables]
    return [optimizer.calls, optimizer.variable_names, *(array.tobytes() for array in arrays)]


@every_kind
@every_copy
def test_a_copy_refuses_to_train_arrays_that_were_never_given(make: Any, copied: Any) -> None:
    optimizer, _variables = trained(make)
    twin = copied(optimizer)
    before = everything(twin, [])
    for _ in range(2):
        with pytest.raises(RuntimeError, match=UNGIVEN):
            twin.apply(gradients(NAMES, 3))
    assert everything(twin, []) == before
    # The original is no copy.
    go_on(optimizer, NAMES, 3, 5)
    assert optimizer.calls == 5


@every_kind
@every_copy
def test_a_copy_refuses_other_arrays_and_says_how_to_go_on(make: Any, copied: Any, tmp_path: Path) -> None:
    optimizer, variables = trained(make)
    twin = copied(optimizer)
    message = rf"^variables\[0\] must be one of the 2 arrays .*; {COPY}.* by rebind\(variables\)$"
    for use in (
        lambda: twin.apply(gradients(NAMES, 3), variables),
        lambda: twin.build(variables),
        lambda: twin.finalize_variable_values(variables),
        lambda: save(tmp_path / "checkpoint", twin, variables),
        lambda: fit(twin, variables, lambda *_: (0.0, gradients(NAMES, 3)), [0]),
    ):
        with pytest.raises(ValueError, match=message):
            use()
    assert list(tmp_path.iterdir()) == []


@every_kind
@every_copy
def test_a_copy_goes_on_with_the_arrays_that_it_is_bound_to(make: Any, copied: Any) -> None:
    optimizer, variables = trained(make)
    twin, others = copied(optimizer), [array.copy() for array in variables]
    twin.rebind(others)
    assert everything(twin, others) == everything(optimizer, variables)
    go_on(twin, NAMES, 3, 6)
    assert optimizer.calls == 3
    go_on(optimizer, NAMES, 3, 6)
    assert everything(twin, others) == everything(optimizer, variables)


@every_kind
@pytest.mark.parametrize("use", ["apply", "apply to some", "build", "fit"])
@every_copy
def test_a_copy_with_its_variables_goes_on_once_they_were_given(make: Any, use: str, copied: Any) -> None:
    optimizer, variables = trained(make)
    others, twin = copied((variables, optimizer))
    assert everything(twin, others) == everything(optimizer, variables)
    for one, its_own in ((twin, others), (optimizer, variables)):
        if use == "apply":
            one.apply(gradients(NAMES, 3), its_own)
        elif use == "apply to some":
            one.apply(gradients(NAMES[:1], 3), its_own[:1])
        elif use == "build":
            one.build(its_own)
        else:
            fit(one, its_own, lambda *_: (0.0, gradients(NAMES, 3)), [0])
        go_on(one, NAMES, 4, 7)
    assert everything(twin, others) == everything(optimizer, variables)


@every_kind
def test_what_is_refused_does_not_count_as_given(make: Any) -> None:
    others, twin = copy.deepcopy(trained(make)[::-1])
    with pytest.raises(ValueError, match="gradients must have one entry"):
        twin.apply([], others)
    with pytest.raises(RuntimeError, match=UNGIVEN):
        twin.apply(gradients(NAMES, 3))


@every_kind
def test_a_copy_of_a_copy_is_a_copy(make: Any) -> None:
    others, twin = copy.deepcopy(trained(make)[::-1])
    twin.build(others)
    another = copy.deepcopy(twin)
    with pytest.raises(RuntimeError, match=UNGIVEN):
        another.apply(gradients(NAMES, 3))
    go_on(twin, NAMES, 3, 4)


@every_kind
def test_variables_in_another_order_are_bound_by_their_names(make: Any) -> None:
    optimizer, variables = trained(make)
    twin, others = copy.deepcopy(optimizer), [array.copy() for array in variables[::-1]]
    twin.rebind(others, NAMES[::-1])
    assert inner(twin).built_state().names == NAMES[::-1]
    assert inner(twin).built_state().decayed == [False, True]
    go_on(twin, NAMES[::-1], 3, 6)
    go_on(optimizer, NAMES, 3, 6)
    assert [array.tobytes() for array in others[::-1]] == [array.tobytes() for array in variables]
    for kind in ("velocities", "averages", "accumulators"):
        found = [array.tobytes() for array in getattr(twin, kind)[::-1]]
        assert found == [array.tobytes() for array in getattr(optimizer, kind)]


@every_kind
@pytest.mark.parametrize(
    ("variables", "names", "error", "message"),
    [
        (lambda: [np.zeros(2, np.float32)], None, ValueError,
         "^variables must have one array for each of the 2 variables of the optimizer, got 1$"),
        (lambda: [np.zeros(2, np.float32), np.zeros(3, np.float32)], None, ValueError,
         r"^'bias' is float32 of shape \(2,\), while variables\[1\] is float32 of shape \(3,\)$"),
        (lambda: [np.zeros(2, np.float16), np.zeros(2, np.float32)], None, ValueError,
         r"^'kernel' is float32 of shape \(2,\), while variables\[0\] is float16"),
        (lambda: [np.zeros(2, np.float32)] * 2, None, ValueError, "^variables must hold each array once"),
        (lambda: np.zeros((2, 2), np.float32), None, TypeError, "^variables must be a list of ndarrays"),
        (lambda: [np.zeros(2, np.float32), np.zeros(2, np.float32)], ["bias", "bias"], ValueError,
         "^names must differ"),
        (lambda: [np.zeros(2, np.float32), np.zeros(2, np.float32)], ["bias", "gain"], ValueError,
         r"^names must be \['kernel', 'bias'\] in any order, got \['bias', 'gain'\]"),
        (lambda: [np.zeros(2, np.float32), np.zeros(2, np.float32)], ["bias"], ValueError,
         "^names must have one entry for each of the 2 variables, got 1$"),
    ],
)  # fmt: skip
def test_arrays_that_do_not_fit_are_not_bound(
    make: Any, variables: Any, names: Any, error: type[Exception], message: str
) -> None:
    twin = copy.deepcopy(trained(make)[0])
    before = everything(twin, [])
    with pytest.raises(error, match=message):
        twin.rebind(variables(), names)
    assert everything(twin, []) == before
    with pytest.raises(RuntimeError, match=UNGIVEN):
        twin.apply(gradients(NAMES, 3))


@every_kind
def test_an_original_may_be_bound_to_other_arrays(make: Any) -> None:
    optimizer, variables = trained(make)
    others, old = [array.copy() for array in variables], [array.tobytes() for array in variables]
    optimizer.rebind(others)
    go_on(optimizer, NAMES, 3, 5)
    assert [array.tobytes() for array in variables] == old
    again, expected = trained(make)
    go_on(again, NAMES, 3, 5)
    assert everything(optimizer, others) == everything(again, expected)


@every_kind
def test_the_arrays_of_state_may_become_variables(make: Any) -> None:
    """A gradient may then share no memory with them, and nothing of the state does."""
    optimizer, _variables = trained(make)
    velocities = optimizer.velocities
    optimizer.rebind(velocities)
    assert not any(
        np.shares_memory(old, new) for old in velocities for new in optimizer.variables if new.ndim
    )
    go_on(optimizer, NAMES, 3, 5)


@every_kind
def test_without_variables_there_is_nothing_to_bind(make: Any) -> None:
    with pytest.raises(RuntimeError, match=r"^the optimizer has no variables yet"):
        make().rebind([np.zeros(2)])


@every_kind
@every_copy
def test_a_copy_of_one_that_is_not_built_is_built_by_its_first_call(make: Any, copied: Any) -> None:
    twin, variables = copied(make()), [np.zeros(2, np.float32), np.ones(2, np.float32)]
    with pytest.raises(RuntimeError, match=r"^the optimizer has no variables yet"):
        twin.apply(gradients(NAMES, 0))
    twin.apply(gradients(NAMES, 0), variables)
    twin.apply(gradients(NAMES, 1))
    assert twin.calls == 2


@every_kind
def test_a_copied_exclusion_of_arrays_does_not_find_others(make: Any) -> None:
    optimizer, w = make(), np.zeros(2, np.float32)
    optimizer.exclude_from_weight_decay([w])
    with pytest.raises(ValueError, match=r"^var_list\[0\] must be one of the 1 variables"):
        copy.deepcopy(optimizer).build([w])


@pytest.mark.parametrize("package", [sgd_ref, numba_kernels], ids=lambda package: package.__name__)
def test_a_shallow_copy_shares_no_state(package: Any) -> None:
    optimizer = package.SGD(0.5, momentum=0.5)
    twin = copy.copy(optimizer)
    w, other = np.ones(2, np.float32), np.ones(2, np.float32)
    optimizer.apply([w.copy()], [w])
    twin.apply([w.copy()], [other])
    assert (optimizer.calls, twin.calls) == (1, 1)
    with pytest.raises(TypeError, match=r"^a shallow copy of an optimizer that has variables would share"):
        copy.copy(optimizer)
    with pytest.raises(TypeError, match=r"^a shallow copy of a LossScaleOptimizer would share"):
        copy.copy(LossScaleOptimizer(package.SGD()))


@every_kind
def test_weights_of_a_copy_are_those_of_the_original(make: Any) -> None:
    optimizer, _variables = trained(make)
    twin = copy.deepcopy(optimizer)
    go_on(optimizer, NAMES, 3, 4)
    twin.set_weights(optimizer.get_weights())
    assert everything(twin, []) == everything(optimizer, [])
    with pytest.raises(RuntimeError, match=UNGIVEN):
        twin.apply(gradients(NAMES, 4))


IN_ANOTHER_PROCESS = """
import pickle, sys
import numpy as np
with open(sys.argv[1], "rb") as file:
    optimizer = pickle.load(file)
gradients = [np.ones(2, np.float32), np.ones(2, np.float32)]
try:
    optimizer.apply(gradients)
except RuntimeError as error:
    print(error)
variables = [np.zeros(2, np.float32), np.ones(2, np.float32)]
optimizer.rebind(variables)
optimizer.apply(gradients)
print(optimizer.calls, variables)
"""


@every_kind
def test_a_copy_in_another_process_knows_that_it_is_one(make: Any, tmp_path: Path) -> None:
    optimizer, _variables = trained(make)
    path = tmp_path / "optimizer"
    path.write_bytes(pickle.dumps(optimizer))
    command = [sys.executable, "-c", IN_ANOTHER_PROCESS, str(path)]
    first, second = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert re.match(UNGIVEN, first)
    others = [np.zeros(2, np.float32), np.ones(2, np.float32)]
    optimizer.rebind(others)
    optimizer.apply([np.ones(2, np.float32), np.ones(2, np.float32)])
    assert second == f"4 {others}"


@pytest.mark.parametrize("package", [sgd_ref, numba_kernels], ids=lambda package: package.__name__)
def test_a_callable_rate_must_not_bind_its_optimizer_to_other_arrays(package: Any) -> None:
    w, other = np.ones(2, np.float32), np.ones(2, np.float32)
    rebinds = False

    def rate() -> float:
        if rebinds:
            optimizer.rebind([other])
        return 0.5

    optimizer = package.SGD(rate, momentum=0.5)
    optimizer.apply([np.ones(2, np.float32)], [w])
    rebinds = True
    for variables in (None, [w]):
        with pytest.raises(RuntimeError, match="the callable learning_rate must not"):
            optimizer.apply([np.ones(2, np.float32)], variables)
        optimizer.rebind([w])
    assert (w.tolist(), other.tolist(), optimizer.calls) == ([0.5, 0.5], [1.0, 1.0], 1)
