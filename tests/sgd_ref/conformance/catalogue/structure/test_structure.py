"""Cases of structure: each has its structure and nothing else, and nothing in it is ever rounded."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from sgd_ref.arithmetic.formats import FORMATS
from sgd_ref.conformance import Case
from sgd_ref.conformance.catalogue.contested import contested
from sgd_ref.conformance.catalogue.named.building import PLAIN_CONFIG
from sgd_ref.conformance.catalogue.structure import structure_cases, structures
from sgd_ref.conformance.catalogue.structure.building import MOMENTUM, RATE, Structure
from sgd_ref.conformance.trajectories import reference
from sgd_ref.gradients import SparseRows

FEWEST = 5
"""Cases of each structure in which nothing else is on."""

LONGEST_RUN = "calls-1002"

MANY_BITS = "resumed-fine"
"""Its velocities are no numbers of the half types."""

ALONE = {structure.name: structure for structure in structures()}


def alone() -> list[Case]:
    return [case for case in structure_cases() if case.id.count("/") == 3 and case.made is None]


def of(name: str) -> Case:
    return next(case for case in alone() if case.id.split("/")[1] == name)


def test_each_structure_is_met_by_the_plainest_implementations() -> None:
    counts = Counter(case.id.split("/")[1] for case in alone())
    assert counts.keys() == ALONE.keys()
    assert {name for name, count in counts.items() if count < FEWEST} == {LONGEST_RUN, MANY_BITS}
    for name, structure in ALONE.items():
        dtypes = {form.dtype.name for form in structure.forms if form.update == "momentum"}
        assert dtypes >= {"float32", "float64"}, name


def test_nothing_else_is_on() -> None:
    for case in alone():
        differing = {key for key, value in case.config.items() if value != PLAIN_CONFIG[key]}
        assert differing <= {"learning_rate", "momentum", "nesterov"}, case.id
        assert case.config["learning_rate"] == RATE
        assert case.config["momentum"] in (0.0, MOMENTUM)
        assert (case.loss_scaling, case.learning_rate_calls, case.finalize) == (None, None, False)
        assert not any(isinstance(gradient, SparseRows) for call in case.gradients for gradient in call)
        assert len({array.dtype for array in case.variables}) == 1
        assert not contested(case)


def test_what_few_frameworks_take_is_in_cases_of_its_own() -> None:
    for case in structure_cases():
        name = case.id.split("/")[1]
        has_empty = any(variable.size == 0 for variable in case.variables)
        has_scalar = any(variable.ndim == 0 for variable in case.variables)
        assert has_empty == name.startswith("empty"), case.id
        assert has_scalar == name.startswith("scalar"), case.id
        assert (case.layouts is not None) == name.startswith("layout"), case.id
        assert (case.state is not None) == name.startswith("resumed"), case.id


def exact(case: Case) -> list[list[list[Fraction]]]:
    """Return the variables after each call in exact numbers, by the documented formulas."""

    def fractions(array: Any) -> list[Fraction]:
        return [Fraction(number) for number in np.asarray(array, np.float64).reshape(-1).tolist()]

    momentum, rate = Fraction(case.config["momentum"]), Fraction(case.config["learning_rate"])
    variables = [fractions(variable) for variable in case.variables]
    kept = () if case.state is None else case.state.velocities
    velocities = [fractions(v) for v in kept] or [[Fraction(0)] * len(w) for w in variables]
    records = []
    for gradients in case.gradients:
        for w, v, gradient in zip(variables, velocities, gradients, strict=True):
            for index, g in enumerate(() if gradient is None else fractions(gradient)):
                v[index] = momentum * v[index] - rate * g
                step = momentum * v[index] - rate * g if case.config["nesterov"] else v[index]
                w[index] += step
        records.append([list(w) for w in variables])
    return records


@pytest.mark.parametrize("update", ["plain", "momentum", "nesterov"])
def test_no_result_is_rounded_or_zero(update: str) -> None:
    for case in alone():
        if case.id.split("/")[2] != update or case.id.split("/")[1].startswith("calls"):
            continue
        for record, wanted in zip(reference.run(case), exact(case), strict=True):
            for variable, numbers in zip(record["variables"], wanted, strict=True):
                got = [Fraction(number) for number in variable.astype(np.float64).reshape(-1).tolist()]
                assert got == numbers, case.id
                assert all(numbers), case.id


def test_long_runs_do_not_leave_the_narrowest_dtype() -> None:
    fewest_bits = min(form.precision for form in FORMATS.values())
    for name in ("calls-260", LONGEST_RUN):
        for record in reference.run(of(name)):
            for number in itertools.chain(*(array.tolist() for array in record["variables"])):
                numerator = Fraction(number).numerator
                assert abs(numerator) < 2**fewest_bits


def test_nobody_can_change_the_arrays_of_a_case() -> None:
    for case in structure_cases():
        arrays = [*case.variables, *(g for g in gradients(case) if isinstance(g, np.ndarray))]
        assert not any(array.flags.writeable for array in arrays), case.id


def gradients(case: Case) -> list[Any]:
    return [gradient for call in case.gradients for gradient in call if gradient is not None]


def test_all_forms_of_a_structure_have_the_same_numbers() -> None:
    for name, structure in ALONE.items():
        cases = [case for case in alone() if case.id.split("/")[1] == name]
        assert len(cases) == len(structure.forms)
        texts = {
            tuple(
                np.asarray(g, np.float64).tobytes() for call in case.gradients for g in call if g is not None
            )
            for case in cases
        }
        assert len(texts) == 1, name


def shapes(name: str) -> list[tuple[int, ...]]:
    return [variable.shape for variable in of(name).variables]


def have_each_a_gradient_of_its_own(case: Case) -> bool:
    """Whether no two variables of a shape have the same gradient in a call."""
    for call in case.gradients:
        forms = [(g.shape, g.tobytes()) for g in call if isinstance(g, np.ndarray) and g.size > 1]
        if len(set(forms)) < len(forms):
            return False
    return True


SHOWN: dict[str, Callable[[Case], Any]] = {
    "one-variable": lambda case: len(case.variables) == 1,
    "one-element": lambda case: (1,) in shapes("one-element"),
    "equal-shapes": lambda case: max(Counter(shapes("equal-shapes")).values()) >= 3,
    "equal-shapes-missing-first": lambda case: (
        any(call[0] is None for call in case.gradients)
        and all(gradient is not None for call in case.gradients for gradient in call[1:])
    ),
    "equal-shapes-missing-in-turn": lambda case: all(
        sum(gradient is None for gradient in call) == 1 for call in case.gradients
    ),
    "equal-values": lambda case: (
        len({variable.tobytes() for variable in case.variables if variable.shape == (3,)}) == 1
    ),
    "equal-sizes": lambda case: (
        len({variable.size for variable in case.variables}) == 1
        and len(set(shapes("equal-sizes"))) == len(case.variables)
    ),
    **{f"variables-{n}": lambda case, n=n: len(case.variables) == n for n in (32, 34, 64, 66, 110, 112, 201)},
    "resumed": lambda case: case.state is not None and sorted(case.names) != list(case.names),
    "sizes-prime": lambda case: {2, 3, 5, 7} < {variable.size for variable in case.variables},
    "sizes-to-65": lambda case: {1, 15, 16, 17, 63, 64, 65} < {variable.size for variable in case.variables},
    "sizes-around-128": lambda case: {variable.size for variable in case.variables} == {127, 128, 129},
    "sizes-around-256": lambda case: {variable.size for variable in case.variables} == {255, 256, 257},
    "size-1025": lambda case: max(variable.size for variable in case.variables) == 1025,
    **{
        name: lambda case, axes=axes: len(set(case.variables[0].shape)) == axes == case.variables[0].ndim
        for name, axes in (("axes-three", 3), ("axes-four", 4), ("axes-five", 5))
    },
    "square-matrices": lambda case: sum(len(set(w.shape)) == 1 and w.ndim == 2 for w in case.variables) == 3,
    "cubes": lambda case: sum(len(set(w.shape)) == 1 and w.ndim >= 3 for w in case.variables) == 3,
    "axes-six": lambda case: max(w.ndim for w in case.variables) == 6,
    "axes-of-one": lambda case: {w.shape.index(1) for w in case.variables} == {0, 1},
    "several-missing": lambda case: all(
        1 < sum(gradient is None for gradient in call) < len(call) for call in case.gradients
    ),
    "names-alike": lambda case: (
        len({name.lower() for name in case.names}) == len(case.names) - 1
        and len({name[:24] for name in case.names}) == len(case.names) - 2
    ),
    "names-in-parts": lambda case: (
        len({name.rpartition("/")[2] for name in case.names}) == 2
        and len({name.partition("/")[2] for name in case.names}) == 3
    ),
    "resumed-fine": lambda case: (
        case.state is not None and not any((v.astype(np.float16) == v).any() for v in case.state.velocities)
    ),
    "resumed-missing": lambda case: (
        [sum(gradient is None for gradient in call) for call in case.gradients] == [2, 0, 0]
    ),
    "layout-transposed": lambda case: strides(case) == {True: (4, 12), False: (20, 4)},
    "layout-strided": lambda case: strides(case) == {True: (80, 8), False: (20, 4)},
    "layout-reversed": lambda case: strides(case) == {True: (-20, -4), False: (20, 4)},
    "layout-offset": lambda case: isinstance(case.variables[0].base, np.ndarray),
    "layout-broadcast": lambda case: (
        {0 in gradient.strides for gradient in case.gradients[0]} == {True, False}  # type: ignore[union-attr]
    ),
    "empty-first": lambda case: [v.size == 0 for v in case.variables] == [True, False, False, False],
    "empty-between": lambda case: [v.size == 0 for v in case.variables] == [False, True, False, False, False],
    "empty-last": lambda case: [v.size == 0 for v in case.variables] == [False, False, True],
    "empty-in-a-row": lambda case: [v.size == 0 for v in case.variables] == [1, 1, 0, 1, 1, 0, 0],
    "scalar-first": lambda case: [v.ndim == 0 for v in case.variables] == [True, False, False],
    "scalars": lambda case: [v.ndim == 0 for v in case.variables] == [0, 1, 0, 1, 1],
    **{f"calls-{n}": lambda case, n=n: len(case.gradients) == n for n in (14, 66, 260, 1002)},
}


def strides(case: Case) -> dict[bool, tuple[int, ...]]:
    """Return the strides of two matrices: of one that is laid out, and of one that is not."""
    return {True: case.variables[0].strides, False: case.variables[1].strides}


def test_all_structures_are_looked_at() -> None:
    assert SHOWN.keys() == ALONE.keys()


@pytest.mark.parametrize("name", SHOWN)
def test_a_structure_is_what_it_says(name: str) -> None:
    for case in alone():
        if case.id.split("/")[1] == name and (not name.startswith("layout") or "float32" in case.id):
            assert SHOWN[name](case), case.id
            assert have_each_a_gradient_of_its_own(case) or name.startswith("variables"), case.id


def test_gradients_and_variables_meet_in_every_pair_of_layouts() -> None:
    for name in ("transposed", "strided", "reversed", "offset"):
        layouts = of(f"layout-{name}").layouts
        assert layouts is not None
        pairs = set(zip(layouts.variables, layouts.gradients, strict=True))
        assert pairs == {(name, "contiguous"), ("contiguous", name), (name, name)}


def test_features_are_on_in_the_cases_that_name_them() -> None:
    for case in structure_cases():
        parts = case.id.split("/")
        if len(parts) < 5:
            continue
        config, feature = case.config, parts[2]
        state_of = {
            "decay": config["weight_decay"] and not case.excluded_from_weight_decay,
            "exclusion": sum(any(e in n for e in case.excluded_from_weight_decay) for n in case.names) > 0,
            "clipnorm": config["clipnorm"],
            "clipvalue": config["clipvalue"],
            "global_clipnorm": config["global_clipnorm"],
            "averages": config["use_ema"] and config["ema_overwrite_frequency"] is None,
            "overwrite": config["ema_overwrite_frequency"] == 2,
            "accumulation-2": config["gradient_accumulation_steps"] == 2,
            "accumulation-3": config["gradient_accumulation_steps"] == 3,
            "fixed": config["loss_scale_factor"] == 64,
            "dynamic": case.loss_scaling is not None and sum(map(has_infinity, case.gradients)) == 1,
            "sparse": any(isinstance(gradient, SparseRows) for call in case.gradients for gradient in call),
            "mixed": len({variable.dtype for variable in case.variables}) >= 2,
            "callable": len(set(case.learning_rate_calls or ())) == 3,
        }
        wanted = {"mixed", "global_clipnorm"} if feature == "mixed-global_clipnorm" else {feature}
        assert {name for name, is_on in state_of.items() if is_on} == wanted, case.id


def has_infinity(call: tuple[Any, ...]) -> bool:
    return any(not np.isfinite(getattr(g, "values", g)).all() for g in call if g is not None)


def test_every_structure_alone_has_one_name() -> None:
    assert len(ALONE) == len(list(structures()))
    assert all(isinstance(structure, Structure) and structure.notes for structure in ALONE.values())
    ids = [case.id for case in structure_cases()]
    assert len(set(ids)) == len(ids)
