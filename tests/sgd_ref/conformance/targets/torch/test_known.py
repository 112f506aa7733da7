"""The contradictions of PyTorch are those that are known: with them, and only with them, all is rounding.

`Formulas` is what torch.optim.SGD computes, written down in float64: the definition, with contradictions by
name. It takes only data from the package: a contradiction is what its formula says, not a replay of it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection
from functools import cache
from typing import Any

import numpy as np
import pytest

from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT64, FORMATS, Array
from sgd_ref.conformance.catalogue.case import Case, Record, State, Unsupported
from sgd_ref.conformance.catalogue.contested import contested
from sgd_ref.conformance.catalogue.tiers import cases
from sgd_ref.conformance.deviations import DEVIATIONS
from sgd_ref.conformance.protocol.worker import ImplementationError
from sgd_ref.conformance.targets.known import known_failure
from sgd_ref.conformance.targets.python_rates import rate_function
from sgd_ref.conformance.targets.torch.known import KNOWN, KNOWN_DEVIATIONS, expected
from sgd_ref.conformance.targets.torch.launch import VARIANTS, Torch, obstacle
from sgd_ref.gradients import SparseRows

UNITS = 8
"""In the last place, of the largest number on the way of an element: a dozen steps of a few roundings each,
which do not all point in one direction. A contradiction counts as seen where it is off by 8 times as much."""

# What the loop and foreach do otherwise is done by fused, too; graphs of all cases compile for minutes.
IN_LONG_SWEEPS = ("loop", "foreach", "compiled")

Answers = dict[str, tuple[Case, list[Record] | str]]

OTHER_EVALUATIONS = {"average-by-difference", "norm-of-half-norms", "rows-merged-late"}
"""What is no contradiction, but differs more than roundings do."""

NOT_SEEN_HERE = {"norm-of-half-norms", "rows-merged-late", "scale-without-limits"}
"""What is below the roundings that are let pass here, or shows on contested ground alone."""

on_variants = pytest.mark.parametrize("variant", VARIANTS)

Gradients = list[Array | None]

VECTOR_OF_HALVES = 16
"""Elements of a half type in a register of 256 bits, for which the fused step is compiled."""


class Formulas:
    """One run over a case, in float64.

    Parameters
    ----------
    case : Case
        The case.
    names : collection of str
        The contradictions to compute with.
    single_rates : bool
        Whether a learning rate that changes is rounded to float32, as in a tensor.
    """

    def __init__(self, case: Case, names: Collection[str], single_rates: bool = False) -> None:
        self.case, self.config, self.names = case, case.config, frozenset(names)
        self.single_rates = single_rates
        self.window = self.config["gradient_accumulation_steps"] or 1
        state = State(calls=0) if case.state is None else case.state
        self.calls, self.updates = state.calls, state.calls // self.window
        self.variables = [variable.astype(FLOAT64) for variable in case.variables]
        self.averages = [average.astype(FLOAT64) for average in state.averages]
        self.buffers: Gradients = [None] * len(self.variables)
        if state.velocities:
            # Velocities are steps; a buffer has the sign of gradients, and no learning rate in it.
            rate = self.config["learning_rate"] if "rate-outside-velocity" in self.names else 1.0
            self.buffers = [-velocity.astype(FLOAT64) / rate for velocity in state.velocities]
        self.sums: Gradients = [None] * len(self.variables)
        if state.calls % self.window and state.accumulators:
            self.sums = [accumulator.astype(FLOAT64) / self.window for accumulator in state.accumulators]
        self.scale = self.config["loss_scale_factor"] or 1.0
        if case.loss_scaling is not None:
            self.scale = state.loss_scale or case.loss_scaling.initial_scale
        self.finite_calls = state.growth_counter or 0

    def run(self) -> list[Record]:
        """Return the trajectory."""
        with np.errstate(all="ignore"):
            trajectory = [self._call(index) for index in range(len(self.case.gradients))]
        if self.case.finalize:
            self.variables = self.averages or self.variables
            trajectory.append(self._record())
        return trajectory

    def _call(self, index: int) -> Record:
        gradients = [None if g is None else _dense(g) for g in self.case.gradients[index]]
        if "layouts-taken-for-alike" in self.names:
            pairs = zip(gradients, self.case.variables, strict=True)
            gradients = [None if g is None else _as_it_lies(g, w) for g, w in pairs]
        if self.case.loss_scaling is not None and not all(
            g is None or np.isfinite(g).all() for g in gradients
        ):
            self.scale, self.finite_calls = self.scale / 2, 0
            return self._record()
        rate = self._rate(index)
        gradients = [
            None if g is None else self._unscaled(g, w) / self.window
            for g, w in zip(gradients, self.case.variables, strict=True)
        ]
        self.sums = [
            s if g is None else g if s is None else s + g for g, s in zip(gradients, self.sums, strict=True)
        ]
        self.calls += 1
        if self.calls % self.window == 0:
            used = "accumulator-used-without-gradient" in self.names
            means = [s if g is not None or used else None for g, s in zip(gradients, self.sums, strict=True)]
            self.sums = [None] * len(self.sums)
            self._update(self._clipped(means), rate)
        if self.case.loss_scaling is not None:
            self.finite_calls += 1
            if self.finite_calls == self.case.loss_scaling.dynamic_growth_steps:
                self.scale, self.finite_calls = self.scale * 2, 0
        return self._record()

    def _unscaled(self, gradient: Array, variable: Array) -> Array:
        if self.case.loss_scaling is not None and "reciprocal-of-scale-in-float32" in self.names:
            reciprocal = 1 / self.scale
            return gradient * (float(np.float32(reciprocal)) if variable.dtype == FLOAT64 else reciprocal)
        return gradient / self.scale

    def _rate(self, index: int) -> float:
        rate = self.config["learning_rate"]
        if isinstance(rate, float):
            return rate
        rates = self.case.learning_rate_calls
        changing = rate_function(rate)(self.calls) if rates is None else rates[index]
        return float(np.float32(changing)) if self.single_rates else changing

    def _clipped(self, gradients: Gradients) -> Gradients:
        config = self.config
        if config["clipvalue"] is not None:
            limit = config["clipvalue"]
            return [None if g is None else np.clip(g, -limit, limit) for g in gradients]
        if config["clipnorm"] is not None:
            return [None if g is None else g * self._factor([g], config["clipnorm"]) for g in gradients]
        if config["global_clipnorm"] is not None:
            present = [g for g in gradients if g is not None]
            factor = self._factor(present, config["global_clipnorm"])
            if factor == 0 and "infinite-norm-hides-gradients" not in self.names:
                factor = math.nan
            return [None if g is None else g * factor for g in gradients]
        return gradients

    def _factor(self, gradients: list[Array], limit: float) -> float:
        numbers = np.concatenate([g.reshape(-1) for g in gradients])
        if "norm-of-rounded-squares" in self.names and all(v.dtype != FLOAT64 for v in self.case.variables):
            squares = numbers.astype(np.float32) ** 2
            norm = float(np.sqrt(squares.sum(dtype=np.float64).astype(np.float32)))
        else:
            norm = float(np.linalg.norm(numbers))
        if "clip-adds-epsilon" in self.names:
            norm += 1e-6
        return math.nan if math.isnan(norm) else min(1.0, limit / norm) if norm else 1.0

    def _update(self, gradients: Gradients, rate: float) -> None:
        for index, gradient in enumerate(gradients):
            if gradient is not None:
                w = self.variables[index]
                moved = self._moved(index, w, gradient, rate)
                if "vector-body-skipped" in self.names and self._dtype(index) in (FLOAT16, BFLOAT16):
                    skipped = w.size // VECTOR_OF_HALVES * VECTOR_OF_HALVES
                    moved.reshape(-1)[:skipped] = w.reshape(-1)[:skipped]
                self.variables[index] = moved
        self.updates += 1
        if self.config["use_ema"]:
            self._average()

    def _moved(self, index: int, w: Array, g: Array, rate: float) -> Array:
        decay, momentum = self.config["weight_decay"], self.config["momentum"]
        patterns = self.case.excluded_from_weight_decay
        if any(pattern in self.case.names[index] for pattern in patterns) or (
            decay == 0 and "zero-decay-skipped" in self.names
        ):
            decay = None
        decayed = w
        if decay is not None and "decay-enters-velocity" in self.names:
            g = g + decay * w
        elif decay is not None:
            decayed = w - decay * w * rate
        # A velocity has the learning rate in it, a buffer of PyTorch has not.
        outside = "rate-outside-velocity" in self.names
        addend = g if outside else rate * g
        old = self.buffers[index]
        lost = "scalar-gradient-lost" in self.names and w.ndim == 0 and self._dtype(index) == FLOAT64
        buffer = addend if old is None else momentum * old + (0 if lost else addend)
        if momentum:
            self.buffers[index] = buffer
        step = addend + momentum * buffer if self.config["nesterov"] else buffer if momentum else addend
        return np.array(decayed - (rate * step if outside else step))

    def _average(self) -> None:
        momentum, frequency = self.config["ema_momentum"], self.config["ema_overwrite_frequency"]
        if self.updates == 1:
            self.averages = list(self.variables)
        elif "average-by-difference" in self.names:
            pairs = zip(self.averages, self.variables, strict=True)
            self.averages = [a + (1 - momentum) * (w - a) for a, w in pairs]
        else:
            pairs = zip(self.averages, self.variables, strict=True)
            self.averages = [momentum * a + (1 - momentum) * w for a, w in pairs]
        if frequency is not None and self.updates % frequency == 0:
            self.variables = list(self.averages)

    def _dtype(self, index: int) -> np.dtype[Any]:
        return self.case.variables[index].dtype

    def _record(self) -> Record:
        return {
            "variables": [np.array(array) for array in self.variables],
            "averages": [np.array(array) for array in self.averages],
        }


def _dense(gradient: Array | SparseRows) -> Array:
    if not isinstance(gradient, SparseRows):
        return gradient.astype(FLOAT64)
    dense = np.zeros(gradient.shape)
    np.add.at(dense, gradient.indices, gradient.values.astype(FLOAT64))
    return dense


def _as_it_lies(gradient: Array, variable: Array) -> Array:
    """Return the elements of a gradient where those of its variable lie in memory, both being tensors."""
    of_gradient, of_variable = (_addresses(np.array(array)) for array in (gradient, variable))
    moved = np.zeros(gradient.size)
    moved[np.argsort(of_variable)] = gradient.reshape(-1)[np.argsort(of_gradient)]
    return moved.reshape(gradient.shape)


def _addresses(array: Array) -> Array:
    """Return where in memory the elements of an array lie, in the order of its indices."""
    indices = np.indices(array.shape).reshape(array.ndim, -1)
    return np.asarray(array.strides) @ indices if array.ndim else np.zeros(1, int)


@pytest.fixture
def answers(variant: str, request: pytest.FixtureRequest) -> Answers:
    """What a variant answers to the standard cases."""
    if variant in IN_LONG_SWEEPS and not request.config.getoption("--sweep"):
        pytest.skip("only with --sweep")
    return answers_of(variant)


@cache
def answers_of(variant: str) -> Answers:
    """Return the standard cases that a variant offers, with its trajectories, or the errors it raised."""
    missing = obstacle(variant)
    if missing is not None:
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    found: Answers = {}
    with Torch(variant) as run:
        # Of big cases there are digests only.
        for case in (case for case in cases() if case.made is None):
            try:
                found[case.id] = case, run(case)
            except ImplementationError as error:
                found[case.id] = case, f"{error}"
            except Unsupported:
                pass
    return found


def distance(case: Case, variant: str, names: Collection[str], observed: list[Record]) -> float:
    """Return how many units in the last place an answer is off, at the largest on the way of each element."""
    expected_records = Formulas(case, names, single_rates=variant == "compiled").run()
    units = 0.0
    for quantity in ("variables", "averages"):
        for index, variable in enumerate(case.variables):
            pairs = [
                (wanted[quantity][index], np.asarray(given[quantity][index]).astype(np.float64))
                for wanted, given in zip(expected_records, observed, strict=True)
                if given.get(quantity)
            ]
            if pairs and variable.size:
                want, got = np.array(pairs).swapaxes(0, 1)
                units = max(units, _units(variable, want, got))
    return units


def _units(variable: Array, want: Array, got: Array) -> float:
    form = FORMATS[variable.dtype]
    want = np.where(np.abs(want) > float(form.largest), np.copysign(np.inf, want), want)
    finite = np.isfinite(want)
    if not np.array_equal(want[~finite], got[~finite], equal_nan=True) or not np.isfinite(got[finite]).all():
        return math.inf
    path = np.concatenate([variable[None].astype(np.float64), want])
    largest = np.abs(np.where(np.isfinite(path), path, 0)).max(axis=0)
    unit = np.maximum(largest, float(form.smallest_normal)) * 2.0 ** (1 - form.precision)
    differences = np.abs(np.where(finite, want, 0) - np.where(finite, got, 0))
    return float((differences / unit).max())


@on_variants
def test_with_what_is_expected_all_is_rounding(variant: str, answers: Answers) -> None:
    off = {}
    for case, answer in answers.values():
        # What overflows in the dtype of the variables is finite where it is fused with a sum, and here.
        in_question = contested(case) or "overflow" in case.id
        if not isinstance(answer, str) and not in_question:
            units = distance(case, variant, expected(case, variant), answer)
            if units > UNITS:
                off[case.id] = units
    assert off == {}


@on_variants
def test_every_contradiction_is_needed(variant: str, answers: Answers) -> None:
    needed: set[str] = set()
    for case, answer in answers.values():
        names = expected(case, variant)
        is_in_question = contested(case) and names != ("accumulator-used-without-gradient",)
        if isinstance(answer, str) or is_in_question:
            continue
        for name in set(names) - needed:
            without = [other for other in names if other != name]
            distances = [distance(case, variant, chosen, answer) for chosen in (names, without)]
            if distances[0] <= UNITS and distances[1] > 8 * UNITS:
                needed.add(name)
    assert needed == set(KNOWN[variant].deviations) - NOT_SEEN_HERE


@on_variants
def test_errors_are_known_and_come_where_they_are_expected(variant: str, answers: Answers) -> None:
    failures = KNOWN[variant].failures
    for case, answer in answers.values():
        fails = isinstance(answer, str)
        assert fails == any(failure.concerns(case) for failure in failures), case.id
        assert not fails or known_failure(case, str(answer), failures) is not None, answer


def test_names_are_those_of_deviations() -> None:
    assert {
        known.name for known in KNOWN_DEVIATIONS if DEVIATIONS[known.name].kind == "rounding"
    } == OTHER_EVALUATIONS
    assert all(known.evidence for known in KNOWN_DEVIATIONS)
    assert set(KNOWN) == set(VARIANTS)
