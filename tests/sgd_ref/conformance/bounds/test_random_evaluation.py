"""Random faithful evaluations of whole steps, on fractions and written from scratch: none is rejected.

Every operation is rounded to the dtype, to a wider format, or not at all, at random; so is the order of every
sum and product, the form of every formula, and whether a result is used as it was stored or as it was before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, FORMATS, Array
from sgd_ref.arithmetic.rounded import convert, nearest, setting
from sgd_ref.conformance.bounds import rule, step
from sgd_ref.conformance.bounds.judging import judge
from sgd_ref.conformance.catalogue.case import Case, Record
from sgd_ref.conformance.catalogue.named.building import PLAIN_CONFIG
from sgd_ref.conformance.trajectories import reference

Change = Callable[[ModuleType, str, str], ModuleType]
WIDER = {
    FLOAT16: (FLOAT16, FLOAT32, FLOAT64),
    BFLOAT16: (BFLOAT16, FLOAT32, FLOAT64),
    FLOAT32: (FLOAT32, FLOAT64),
    FLOAT64: (FLOAT64,),
}
CALLS, SIZE = 6, 5


def fraction(x: Any) -> Fraction:
    return Fraction(float(x))


class Evaluation:
    """One way to evaluate everything, drawn as it goes along."""

    def __init__(self, case: Case, generator: np.random.Generator) -> None:
        self.config, self.generator = case.config, generator
        self.dtype = case.variables[0].dtype
        self.formats = WIDER[self.dtype]
        self.is_double = bool(generator.integers(2))

    def chance(self, count: int = 2) -> int:
        return int(self.generator.integers(count))

    def rounded(self, x: Fraction) -> Fraction:
        chosen = self.chance(len(self.formats) + 1)
        return x if chosen == len(self.formats) else fraction(nearest(x, self.formats[chosen]))

    def stored(self, x: Fraction) -> Fraction:
        return fraction(nearest(x, self.dtype))

    def kept(self, x: Fraction) -> Fraction:
        """As it was stored, or still in a register."""
        return self.stored(x) if self.chance() else x

    def held(self, name: str) -> Fraction:
        value = self.config[name]
        if self.is_double:
            return Fraction(value)
        single = float(np.float32(value)) if name == "learning_rate" else value
        return fraction(setting(single, self.dtype))

    def sum(self, terms: Iterable[Fraction]) -> Fraction:
        """The sum in an order that is drawn."""
        left = list(terms)
        while len(left) > 1:
            x, y = (left.pop(self.chance(len(left))) for _ in range(2))
            left.append(self.rounded(x + y))
        return left[0]

    def product(self, multipliers: Iterable[Fraction], dividers: Iterable[Fraction] = ()) -> Fraction:
        """The product in an order that is drawn; every divider divides, or its reciprocal multiplies."""
        left = [*((x, False) for x in multipliers), *((x, True) for x in dividers)]
        while len(left) > 1:
            (x, x_divides), (y, y_divides) = (left.pop(self.chance(len(left))) for _ in range(2))
            if x_divides and not self.chance(3):
                left += [(self.rounded(1 / x), False), (y, y_divides)]
            elif x_divides == y_divides:
                left.append((self.rounded(x * y), x_divides))
            elif x_divides:
                left.append((self.rounded(y / x), False))
            else:
                # A divider over a factor is a divider again, unless it is the value that would divide.
                left.append((self.rounded(x / y), False))
        return left[0][0]

    def unscaled(self, g: Fraction) -> Fraction:
        scale = self.config["loss_scale_factor"]
        if scale is None:
            return g
        own, self.formats = self.formats, tuple(x for x in self.formats if x in (FLOAT32, FLOAT64))
        wide = FLOAT64 if self.dtype == FLOAT64 else FLOAT32
        quotient = self.product([g], [fraction(setting(scale, wide))])
        self.formats = own
        return self.rounded(quotient)

    def mean(self, g: Fraction, accumulator: Fraction) -> Fraction:
        steps = Fraction(self.config["gradient_accumulation_steps"])
        if self.chance():
            return self.product([self.sum([g, accumulator])], [steps])
        return self.sum([self.product([g], [steps]), self.product([accumulator], [steps])])

    def clipped(self, g: Fraction) -> Fraction:
        if self.config["clipvalue"] is None:
            return g
        limit = self.held("clipvalue")
        return max(-limit, min(limit, g))

    def descent(self, g: Fraction) -> Fraction:
        return -self.product([self.held("learning_rate"), g])

    def decayed(self, w: Fraction) -> list[Fraction]:
        """Terms whose sum is the decayed weight."""
        if self.config["weight_decay"] is None:
            return [w]
        rate, weight_decay = self.held("learning_rate"), self.held("weight_decay")
        if self.chance():
            return [w, -self.product([w, rate, weight_decay])]
        return [self.rounded(w * self.rounded(1 - self.rounded(rate * weight_decay)))]

    def updated(self, w: Fraction, v: Fraction, g: Fraction) -> tuple[Fraction, Fraction]:
        """The weight and the velocity, not yet stored."""
        if self.config["momentum"] == 0:
            if self.config["weight_decay"] is not None and not self.chance(3):
                direction = self.sum([g, self.product([w, self.held("weight_decay")])])
                return self.sum([w, self.descent(direction)]), v
            return self.sum([*self.decayed(w), self.descent(g)]), v
        momentum = self.held("momentum")
        new = self.sum([self.product([momentum, v]), self.descent(g)])
        used = self.kept(new)
        if not self.config["nesterov"]:
            return self.sum([*self.decayed(w), used]), new
        if self.chance():
            terms = [self.product([momentum, used]), self.descent(g)]
        else:
            terms = [
                -self.product([momentum, v]),
                self.product([used, self.rounded(1 + momentum)]),
            ]
        return self.sum([*self.decayed(w), *terms]), new

    def averaged(self, average: Fraction, w: Fraction) -> Fraction:
        momentum = self.held("ema_momentum")
        complement = self.rounded(1 - momentum)
        form = self.chance(3)
        if form == 0:
            return self.sum([self.product([momentum, average]), self.product([complement, w])])
        difference = self.sum([w, -average])
        if form == 1:
            return self.sum([average, self.product([complement, difference])])
        return self.sum([w, -self.product([momentum, difference])])

    def element(self, w: Fraction, gradients: list[Fraction]) -> list[dict[str, Fraction]]:
        """The trajectory of one element."""
        v = average = accumulator = Fraction(0)
        updates, records = 0, []
        steps = self.config["gradient_accumulation_steps"]
        for call, scaled in enumerate(gradients, 1):
            g = self.unscaled(scaled)
            if steps is not None and call % steps:
                accumulator = self.stored(self.sum([g, accumulator]))
            else:
                if steps is not None:
                    g, accumulator = self.mean(g, accumulator), Fraction(0)
                new_w, new_v = self.updated(w, v, self.clipped(g))
                v, w, updates = self.stored(new_v), self.stored(new_w), updates + 1
                used = new_w if self.chance() else w
                average = w if updates == 1 else self.stored(self.averaged(average, used))
                frequency = self.config["ema_overwrite_frequency"]
                if self.config["use_ema"] and frequency and updates % frequency == 0:
                    w = average
            records.append(
                {"variables": w, "velocities": v, "averages": average, "accumulators": accumulator}
            )
        return records


def drawn_case(generator: np.random.Generator) -> Case:
    """Settings, most of which no dtype holds, and data of a few magnitudes."""
    dtype = list(FORMATS)[generator.integers(4)]

    def one_of(*values: Any) -> Any:
        return values[generator.integers(len(values))]

    averages = bool(generator.integers(2))
    config = PLAIN_CONFIG | {
        "learning_rate": one_of(0.1, 0.25, 0.0123),
        "momentum": one_of(0.0, 0.9, 0.75),
        "nesterov": one_of(True, False),
        "weight_decay": one_of(None, 0.04, 0.3),
        "clipvalue": one_of(None, 0.7),
        "use_ema": averages,
        "ema_momentum": one_of(0.9, 0.75),
        "ema_overwrite_frequency": one_of(None, 2) if averages else None,
        "gradient_accumulation_steps": one_of(None, 2, 3),
        "loss_scale_factor": one_of(None, 96.0, 0.3),
    }
    magnitude = one_of(1.0, 1.0, 1.0, float(FORMATS[dtype].smallest_normal) * 3)

    def array() -> Array:
        integers = generator.integers(-40, 40, SIZE) / 8
        values = one_of(generator.standard_normal(SIZE), integers)
        return convert(np.asarray(values * magnitude), dtype)

    return Case("random", config, ("w",), (array(),), tuple((array(),) for _ in range(CALLS)))


def evaluated(case: Case, expected: list[Record], generator: np.random.Generator) -> list[Record]:
    evaluation = Evaluation(case, generator)
    of_elements = [
        evaluation.element(fraction(w), [fraction(gradients[0][index]) for gradients in case.gradients])
        for index, w in enumerate(case.variables[0])
    ]
    observed = []
    for call, record in enumerate(expected):
        arrays = {
            name: [np.array([nearest(of[call][name], evaluation.dtype) for of in of_elements])]
            for name in of_elements[0][call]
            if record[name]
        }
        copied = same_bits_where_equal(record, arrays)
        observed.append({**{key: record[key] for key in ("iterations", "calls")}, **copied})
    return observed


def same_bits_where_equal(record: Record, arrays: dict[str, list[Array]]) -> dict[str, list[Array]]:
    """Zeros with the signs that the definition gives them, which fractions do not have."""
    return {
        name: [
            np.where(array == known, known, array) for array, known in zip(given, record[name], strict=True)
        ]
        for name, given in arrays.items()
    }


def rejections(generator: np.random.Generator, count: int) -> list[str]:
    found = []
    for _ in range(count):
        case = drawn_case(generator)
        expected = reference.run(case)
        observed = evaluated(case, expected, generator)
        judgement = judge(case, expected, observed)
        if not judgement.is_faithful:
            found.append(f"{case.variables[0].dtype} {case.config}: {judgement}")
    return found


def test_no_random_evaluation_is_rejected(sweep: Any) -> None:
    assert rejections(sweep.generator, sweep.count(4000, 50)) == []


@pytest.mark.share(2)
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("        w - (1 - complement) * (w - old_average),\n", ""),
        (", sum_in_any_order([kept, *terms]))", ")"),
        (", sum_in_any_order(parts))", ")"),
        ("return sum_in_any_order([velocity * momentum, *steps])", "return (velocity * momentum).kept()"),
    ],
)
def test_some_are_rejected_where_a_form_is_missing(
    old: str, new: str, changed: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = changed(rule, old, new)
    monkeypatch.setattr(step, "rule", without)
    monkeypatch.setattr("sgd_ref.conformance.bounds.walk.rule", without)
    assert rejections(np.random.default_rng(3), 60)
