"""Each sentence that a case turns on, broken: the expected bits are no longer given."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from sgd_ref import optimizer as stages
from sgd_ref.arithmetic import interval
from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Array
from sgd_ref.arithmetic.rounded import convert, promoted, setting
from sgd_ref.base import variables
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.catalogue.first import first_cases
from sgd_ref.conformance.golden.content.bounds import first_outside
from sgd_ref.conformance.golden.content.resume import grouped
from sgd_ref.conformance.golden.content.schedules import VECTORS, Vector, rates
from sgd_ref.conformance.golden.content.sentences import NAME, above_tie, sentence_cases
from sgd_ref.conformance.golden.format.entries import made
from sgd_ref.conformance.golden.tools.writing import SENTENCES_PATH, trajectory_cases
from sgd_ref.conformance.protocol.encoding import case_to_json
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.trajectories.comparison import compare
from sgd_ref.gradients import SparseRows
from sgd_ref.loss_scale import LossScaleOptimizer
from sgd_ref.optimizer import SGD, Gradients, Values
from sgd_ref.schedules import PolynomialDecay
from sgd_ref.schedules.serialization import deserialize

CASES = {case.id.removeprefix(f"resume/{NAME}/"): case for case in sentence_cases()}

Broken = tuple[type[SGD], type[LossScaleOptimizer]]


def setting_by_way_of_float32(value: float, dtype: np.dtype[Any]) -> Any:
    return setting(float(setting(value, FLOAT32)), dtype)


def sparse_added_to_zeros(self: SparseRows) -> Array:
    dense = np.zeros(self.shape, self.dtype)
    with np.errstate(all="ignore"):
        for index, row in zip(self.indices.tolist(), self.values, strict=True):
            dense[index] = dense[index] + row
    return dense


def dense_in_its_own_dtype(gradient: Any, variable: Array) -> Array | None:
    if not isinstance(gradient, SparseRows):
        return variables.to_dense(gradient, variable)
    return convert(gradient.to_dense(), variable.dtype)


class RateOfFullPrecision(SGD):
    """Rounds the setting of the rate once, from float64."""

    def advance(self, values: Values, call: Any, loss_scale: Any) -> Values:
        rate = above_tie(values.variables[0].dtype)
        return super().advance(values, call._replace(learning_rate=rate), loss_scale)


class ProductRoundedOnce(SGD):
    """Rounds the product of gradient and global factor to the dtype of the variable alone."""

    def clip_by_global_norm(self, gradients: Gradients, clipnorm: float) -> Gradients:
        present = [gradient for gradient in gradients if gradient is not None]
        wide = promoted([gradient.dtype for gradient in present])
        factor = stages.rule.global_clip_factor(
            self.norm(present), setting(clipnorm, wide), setting(1 / clipnorm, wide)
        )
        return [
            None if gradient is None else convert(convert(gradient, FLOAT64) * float(factor), gradient.dtype)
            for gradient in gradients
        ]


class DtypeOfAllVariables(SGD):
    """Forms the global norm in the dtype that holds all variables, also those without a gradient."""

    def clip_by_global_norm(self, gradients: Gradients, clipnorm: float) -> Gradients:
        wide = promoted([variable.dtype for variable in self.built_state().variables])
        widened = [None if gradient is None else convert(gradient, wide) for gradient in gradients]
        return [
            None if clipped is None or gradient is None else convert(clipped, gradient.dtype)
            for clipped, gradient in zip(
                super().clip_by_global_norm(widened, clipnorm), gradients, strict=True
            )
        ]


class LooksAtRows(SGD):
    """Looks for infinities in the rows of a gradient, before they are added."""

    def validated(self, gradients: Any, variables: Any) -> Any:
        self._given = gradients
        return super().validated(gradients, variables)

    def all_finite(self, call: Any, loss_scale: Any) -> bool:
        return all(np.isfinite(gradient.values).all() for gradient in self._given)


class ScaleOfFullPrecision(LossScaleOptimizer):
    """Divides by the initial scale as it was given."""

    def apply(self, gradients: Any, variables: Any = None) -> None:
        self._scale = np.float64(self.initial_scale)  # type: ignore[assignment]
        super().apply(gradients, variables)


def by_way_of_float32(monkeypatch: pytest.MonkeyPatch) -> Broken:
    monkeypatch.setattr(stages, "setting", setting_by_way_of_float32)
    monkeypatch.setattr("sgd_ref.base.settings.setting", setting_by_way_of_float32)
    return SGD, LossScaleOptimizer


def added_to_zeros(monkeypatch: pytest.MonkeyPatch) -> Broken:
    monkeypatch.setattr(SparseRows, "to_dense", sparse_added_to_zeros)
    return SGD, LossScaleOptimizer


def added_in_the_narrow_dtype(monkeypatch: pytest.MonkeyPatch) -> Broken:
    monkeypatch.setattr("sgd_ref.base.optimizer.to_dense", dense_in_its_own_dtype)
    return SGD, LossScaleOptimizer


def classes(
    optimizer: type[SGD] = SGD, wrapper: type[LossScaleOptimizer] = LossScaleOptimizer
) -> Callable[[pytest.MonkeyPatch], Broken]:
    return lambda _: (optimizer, wrapper)


HALF_SETTINGS = (
    "momentum",
    "weight_decay",
    "ema_momentum",
    "clipvalue",
    "clipnorm",
    "global_clipnorm",
    "reciprocal-of-global_clipnorm",
)
BREAKS: dict[str, Callable[[pytest.MonkeyPatch], Broken]] = {
    **{f"{name}/{dtype}": by_way_of_float32 for name in HALF_SETTINGS for dtype in ("float16", "bfloat16")},
    "learning_rate-by-way-of-float32/float16": classes(RateOfFullPrecision),
    "learning_rate-by-way-of-float32/bfloat16": classes(RateOfFullPrecision),
    "first-row-is-copied": added_to_zeros,
    "narrow-duplicates-are-added-in/float32/from-bfloat16": added_in_the_narrow_dtype,
    "narrow-duplicates-are-added-in/float32/from-float16": added_in_the_narrow_dtype,
    "narrow-duplicates-are-added-in/float64/from-float32": added_in_the_narrow_dtype,
    "clipped-gradient-is-rounded-twice": classes(ProductRoundedOnce),
    "global-norm-without-the-missing": classes(DtypeOfAllVariables),
    "rows-whose-sum-overflows/float16": classes(LooksAtRows),
    "rows-whose-sum-overflows/float32": classes(LooksAtRows),
    "rows-whose-sum-overflows-narrowly": added_in_the_narrow_dtype,
    "initial-scale-is-a-float32": classes(wrapper=ScaleOfFullPrecision),
}


def test_every_case_has_a_sentence_that_can_be_broken() -> None:
    assert set(BREAKS) == set(CASES)


@pytest.mark.parametrize("name", BREAKS)
def test_breaking_the_sentence_changes_a_bit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = CASES[name]
    expected = reference.run(case)
    optimizer, wrapper = BREAKS[name](monkeypatch)
    broken = reference.run(case, optimizer, wrapper)
    for record in broken:
        if "loss_scale" in record:
            # The scale that is reported is not what the case is about.
            record["loss_scale"] = np.float32(record["loss_scale"])
    assert not compare(case, expected, broken).equal


@pytest.mark.parametrize("dtype", [FLOAT16, BFLOAT16], ids=str)
def test_a_setting_above_a_tie_is_on_it_in_float32(dtype: np.dtype[Any]) -> None:
    value = above_tie(dtype)
    assert float(setting(value, dtype)) > 0.5 == float(setting_by_way_of_float32(value, dtype))


@pytest.mark.parametrize("name", CASES)
def test_the_answer_of_the_reference_is_inside_of_its_bounds(name: str) -> None:
    entry = made(CASES[name], "test")
    assert first_outside(entry.expected, entry.bounds, entry.expected) is None


def test_ids_are_those_of_no_other_case_and_the_file_is_written() -> None:
    written = trajectory_cases()[SENTENCES_PATH]
    assert [case_to_json(case) for case in written] == [case_to_json(case) for case in CASES.values()]
    others: list[Case] = [case for cases in grouped(first_cases()).values() for case in cases]
    ids = [case.id for case in (*others, *written)]
    assert len(set(ids)) == len(ids)


SETTINGS_ROUNDED = (
    ("ExponentialDecay", "long-staircase", "decay_steps"),
    ("InverseTimeDecay", "long-staircase", "decay_steps"),
    ("PolynomialDecay", "odd-length", "decay_steps"),
    ("PolynomialDecay", "power-beyond-float32", "power"),
    ("CosineDecay", "odd-length", "decay_steps"),
    ("CosineDecay", "odd-warmup", "warmup_steps"),
    ("CosineDecayRestarts", "odd-first-period", "first_decay_steps"),
)


def vector(class_name: str, name: str) -> Vector:
    return next(each for each in VECTORS if (each.class_name, each.name) == (class_name, name))


def expected_rates(chosen: Vector) -> Any:
    return rates({"class_name": chosen.class_name, "config": chosen.config}, chosen.steps)


@pytest.mark.parametrize(("class_name", "name", "argument"), SETTINGS_ROUNDED)
def test_a_setting_that_is_not_rounded_gives_other_rates(class_name: str, name: str, argument: str) -> None:
    chosen = vector(class_name, name)
    schedule: Any = deserialize({"class_name": class_name, "config": chosen.config})
    given = Fraction(chosen.config[argument])
    setattr(schedule.exact_settings, argument, given)
    setattr(schedule._enclosing_settings, argument, interval.number(given))
    found = np.array([schedule(step) for step in chosen.steps])
    assert (found != expected_rates(chosen)).any()


def test_a_boundary_that_is_rounded_gives_other_rates() -> None:
    chosen = vector("PiecewiseConstantDecay", "boundary-beyond-float32")
    rounded = [float(np.float32(boundary)) for boundary in chosen.config["boundaries"]]
    found = rates(
        {"class_name": chosen.class_name, "config": chosen.config | {"boundaries": rounded}}, chosen.steps
    )
    assert (found != expected_rates(chosen)).any()


def test_no_period_at_step_zero_has_no_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = vector("PolynomialDecay", "cycle-from-the-start")
    assert expected_rates(chosen)[0] == chosen.config["initial_learning_rate"]
    monkeypatch.setattr("sgd_ref.schedules.decay.max", lambda one, count: count, raising=False)
    with pytest.raises(ZeroDivisionError):
        PolynomialDecay(**chosen.config)(0)


def test_zeros_of_schedules() -> None:
    def text(class_name: str, name: str) -> list[str]:
        return [str(rate) for rate in expected_rates(vector(class_name, name))]

    assert text("ExponentialDecay", "to-zero-at-once") == ["-0.5", "0.0", "0.0", "0.0"]
    assert text("ExponentialDecay", "negative-underflow")[-2:] == ["-0.0", "-0.0"]
    assert text("PiecewiseConstantDecay", "zeros") == ["0.0", "0.0", "-0.0", "-0.0", "0.0"]
    assert set(text("PolynomialDecay", "power-zero")) == {"0.5"}


def test_a_warmup_without_target_is_none() -> None:
    chosen = vector("CosineDecay", "warmup-without-target")
    config = {key: value for key, value in chosen.config.items() if key != "warmup_steps"}
    without = rates({"class_name": chosen.class_name, "config": config}, chosen.steps)
    assert without.tolist() == expected_rates(chosen).tolist()
    with_target = config | {"warmup_steps": 4, "warmup_target": 0.5}
    warm = rates({"class_name": chosen.class_name, "config": with_target}, chosen.steps)
    assert warm.tolist() != expected_rates(chosen).tolist()
