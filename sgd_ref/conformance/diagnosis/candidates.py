"""The known deviations that may have caused a violation: their results there are near the observed value."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT64, FORMATS
from sgd_ref.conformance.bounds.violation import Violation
from sgd_ref.conformance.catalogue.case import Case, Record, Trajectory
from sgd_ref.conformance.deviations import DEFINITION, DEVIATIONS, Basis
from sgd_ref.conformance.deviations.mistakes import STRUCTURAL
from sgd_ref.conformance.deviations.moments import as_shown
from sgd_ref.conformance.diagnosis.exposing import has_other_bits
from sgd_ref.conformance.diagnosis.surroundings import Surroundings
from sgd_ref.conformance.diagnosis.work import Work, work_of
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.trajectories.comparison import LISTS, are_equal, arrays_of_both
from sgd_ref.gradients import SparseRows
from sgd_ref.optimizer import SGD

NEEDS = {
    "unscaled": ("loss_scale_factor", "loss_scaling"),
    "mean_of": ("gradient_accumulation_steps",),
    "accumulate": ("gradient_accumulation_steps",),
    "clip_by_norm": ("clipnorm",),
    "clipped": ("clipnorm",),
    "clip_by_value": ("clipvalue",),
    "clip_by_global_norm": ("global_clipnorm",),
    "globally_clipped": ("global_clipnorm",),
    "norm": ("clipnorm", "global_clipnorm"),
    "decayed": ("weight_decay",),
    "accelerated": ("momentum",),
    "moved": ("momentum",),
    "moved_by_nesterov": ("nesterov",),
    "step": ("momentum",),
    "averaged": ("use_ema",),
}
"""For each method of the reference, the settings of which at least one must be on for the method to be
called."""


MUCH_NEARER = 0.5
"""How near to the wrong value several deviations must come, as a share of the distance of the reference."""

AGREEING = 0.9
"""The least share of elements in which deviations must agree with what was seen."""

MOST_ELEMENTS = 0.9
"""The share of velocities that must be the same multiple of those of the rule to have another form."""

INERT = 0.25
"""The loss of a pair's predicted agreement if one of the two deviations changes nothing alone."""


def beginning(case: Case, calls: int) -> Case:
    """Return the first calls of a case.

    >>> from sgd_ref import conformance
    >>> len(beginning(conformance.cases("smoke")[0], 2).gradients)
    2
    """
    if calls > len(case.gradients):
        return case
    rates = case.learning_rate_calls
    return replace(
        case,
        gradients=case.gradients[:calls],
        learning_rate_calls=None if rates is None else rates[:calls],
        finalize=False,
    )


def may_act(case: Case, name: str) -> bool:
    """Whether a method that a deviation replaces is ever called in a case.

    >>> from sgd_ref import conformance
    >>> plain = conformance.cases("smoke")[0]
    >>> may_act(plain, "ascends"), may_act(plain, "clip-adds-epsilon")
    (True, False)
    """
    replaced = _replaced(name)
    if DEVIATIONS[name].optimizer is SGD:
        return case.loss_scaling is not None
    return not replaced or any(_is_called(case, method) for method in replaced)


def suiting(case: Case, names: Iterable[str] | None = None, basis: Basis = DEFINITION) -> list[str]:
    """Return the deviations, among the named ones or all, that may change something in a case.

    In a big case, only structural deviations are returned: each deviation takes long on a million elements,
    and one that does not concern structure shows in small cases, too.

    >>> from sgd_ref import conformance
    >>> suiting(conformance.cases("smoke")[0], ["clip-adds-epsilon", "ascends"])
    ['ascends']
    """
    known = DEVIATIONS if case.made is None else [name for name in DEVIATIONS if name in STRUCTURAL]
    considered = known if names is None else names
    return [
        name
        for name in considered
        if name not in basis.names
        and may_act(case, name)
        # The recorded results are for the definition.
        and (basis != DEFINITION or has_other_bits(name, case))
    ]


class Acting:
    """The known deviations that change something up to a violation, with their results there.

    Parameters
    ----------
    case : Case
        The case.
    observed : trajectory
        The answer of the implementation.
    violation : Violation
        The first value that is wrong.
    names : iterable of str, optional
        Names of deviations; all by default.
    beside : tuple of str, optional
        Deviations that are assumed already: the search is for others that act beside them.
    basis : Basis, optional
        The rule that all deviations are added to.
    is_state_hidden : bool, default False
        Whether the state may be wider than the reported one.
    work : Work, optional
        Counts the calls that are made.

    Attributes
    ----------
    refuted : list of str
        The deviations that show in a call before the violation, where everything is as it should be.
    """

    def __init__(
        self,
        case: Case,
        observed: Trajectory,
        violation: Violation,
        names: Iterable[str] | None = None,
        beside: tuple[str, ...] = (),
        basis: Basis = DEFINITION,
        is_state_hidden: bool = False,
        work: Work | None = None,
    ) -> None:
        self._beside, self._basis, self._work = beside, basis, work
        self.start = beginning(case, violation.call + 1)
        self.observed = observed[: violation.call + 1]
        self._violation = violation
        self._position = case.names.index(violation.variable) if violation.variable else 0
        self._expected = basis.run(self.start, beside)
        self._surroundings = Surroundings(
            self.start, self.observed, self._expected, is_state_hidden, basis, beside, self._still()
        )
        self._right_before = self._equal_before(self._expected)
        self._rounded = self._equal_before(self.observed) - self._right_before
        self._results: dict[str, Trajectory] = {}
        self.refuted: list[str] = []
        for name in suiting(case, names, basis):
            if name not in beside:
                self._try(name)

    def _still(self) -> Record | None:
        """Return the last record where the gradients of the last update are 0."""
        steps = self.start.config.get("gradient_accumulation_steps") or 1
        calls = self.start.gradients
        zeros = tuple(tuple(map(_zeros, gradients)) for gradients in calls[-steps:])
        try:
            return self._basis.run(replace(self.start, gradients=calls[:-steps] + zeros), self._beside)[-1]
        except (ArithmeticError, LookupError, TypeError, ValueError):
            return None

    def _try(self, name: str) -> None:
        wrong = self._run((name,))
        if wrong is None:
            return
        if len(wrong) < len(self._expected):
            self.refuted.append(name)
        elif not are_equal(self.start, self._expected, wrong):
            self._results[name] = wrong

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the deviations that act and are not refuted, in the order of the registry."""
        return tuple(self._results)

    @property
    def wrong(self) -> frozenset[str]:
        """The quantities that are wrong where the violation is."""
        return self._surroundings.wrong

    @property
    def has_other_velocities(self) -> bool:
        """Whether the velocities at the violation are a multiple of the velocities of the rule."""
        expected, seen = (
            record.get("velocities") or () for record in (self._expected[-1], self.observed[-1])
        )
        return are_multiples(expected, seen)

    def likely(self) -> list[str]:
        """Return the deviations that alone come nearer to the wrong value than the reference does."""
        return [name for name, wrong in self._results.items() if self._is_nearer(wrong[-1])]

    def agreeing(self) -> list[str]:
        """Return the likely deviations that alone agree in most elements, those that agree best first."""
        agreement = {name: self._surroundings.agreement_of(self._results[name][-1]) for name in self.likely()}
        return sorted(
            (name for name in agreement if agreement[name] >= AGREEING),
            key=lambda name: -agreement[name],
        )

    def alike(self) -> list[list[str]]:
        """Return the deviations that act, in groups that give the same bits up to the violation."""
        groups: list[list[str]] = []
        for name, wrong in self._results.items():
            for group in groups:
                if are_equal(self.start, self._results[group[0]], wrong):
                    group.append(name)
                    break
            else:
                groups.append([name])
        return groups

    def spoils(self, name: str) -> bool:
        """Whether a deviation alone makes an element wrong, where the violation is, that is right.

        Only another deviation beside it could hide that.
        """
        wrong = self._results.get(name)
        return wrong is not None and self._surroundings.spoils(wrong[-1])

    def gain(self, name: str) -> int:
        """Return how many more elements than the reference a deviation brings near to the observed ones."""
        wrong = self._results.get(name)
        if wrong is None:
            return 0
        return _near(self.start, wrong, self.observed) - _near(self.start, self._expected, self.observed)

    def begun_alike(self, name: str) -> int:
        """Return how many more numbers than the reference a deviation gives to the bit before the violation.

        If nothing is rounded, a deviation that acts from the beginning gives all of these numbers alone.
        """
        wrong = self._results.get(name)
        return 0 if wrong is None or self._rounded == 0 else self._equal_before(wrong) - self._right_before

    def are_likely(self, names: tuple[str, ...]) -> bool:
        """Whether several deviations together come much nearer to the wrong value than the reference does.

        The bounds of the deviations decide, but they are computed only if the wrong value is near enough.
        """
        wrong = self._run(names)
        if wrong is None or len(wrong) < len(self._expected) or not self._is_nearer(wrong[-1], MUCH_NEARER):
            return False
        return self._surroundings.agreement_of(wrong[-1]) >= AGREEING

    def promise(self, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], float]:
        """Return how well each pair is predicted to agree with the record of the violation, from 0 to 1.

        The prediction is made from what each deviation does alone. A deviation that does nothing alone may do
        something beside another one, but rarely does.
        """
        looked_at = {name: self._surroundings.looked_at(wrong[-1]) for name, wrong in self._results.items()}
        nothing = self._surroundings.looked_at(self._expected[-1])
        ones, others = ([looked_at.get(pair[i], nothing) for pair in pairs] for i in (0, 1))
        agreement = self._surroundings.agreement(ones, others)
        return {
            pair: float(agrees) - (0.0 if pair[0] in looked_at and pair[1] in looked_at else INERT)
            for pair, agrees in zip(pairs, agreement, strict=True)
        }

    def _run(self, names: tuple[str, ...]) -> Trajectory | None:
        """Return the records of several deviations, up to the first that refutes them if there is one."""
        made: list[Record] = []
        try:
            for call, (optimizer, _, record) in enumerate(
                reference.records(self.start, *self._basis.composed((*self._beside, *names)))
            ):
                made.append(as_shown(optimizer, record, self.observed[call]))
                if self._surroundings.refute(call, made[-1]):
                    break
        # Together, or from such a state, deviations may be unable to make a step.
        except (ArithmeticError, LookupError, TypeError, ValueError):
            return None
        finally:
            if self._work is not None:
                self._work.add(work_of(self.start, len(made)))
        return made

    def _equal_before(self, trajectory: Sequence[Record]) -> int:
        return sum(self._surroundings.equal(call, record) for call, record in enumerate(trajectory[:-1]))

    def _is_nearer(self, record: Record, share: float = 1.0) -> bool:
        seen, right, wrong = (self._value(of) for of in (self.observed[-1], self._expected[-1], record))
        if None in (seen, right, wrong):
            return True
        if math.isnan(seen) or math.isnan(wrong):
            return math.isnan(seen) and math.isnan(wrong)
        if math.isinf(seen):
            return bool(wrong == seen)
        if math.isnan(right) or math.isinf(right):
            return math.isfinite(wrong)
        if seen == right == wrong == 0:
            return math.copysign(1, seen) == math.copysign(1, wrong) != math.copysign(1, right)
        # A deviation that only rounds more often has wider bounds, but comes no nearer.
        return bool(abs(wrong - seen) < share * abs(right - seen))

    def _value(self, record: Record) -> Any:
        quantity = self._violation.quantity
        found = record.get(quantity)
        if found is None or (quantity in LISTS and not found):
            return None
        if quantity not in LISTS:
            return float(found)
        with np.errstate(invalid="ignore"):
            return float(np.asarray(found[self._position])[self._violation.element])


def _zeros(gradient: Any) -> Any:
    if isinstance(gradient, SparseRows):
        return SparseRows(gradient.indices, np.zeros_like(gradient.values), gradient.shape)
    return None if gradient is None else np.zeros_like(gradient)


def are_multiples(expected: Sequence[Any], seen: Sequence[Any]) -> bool:
    """Whether arrays are others times one number that is not 1, up to half of the digits, in most elements.

    >>> ones = [np.ones(2, "float32"), np.array([3.0, 0.0], "float32")]
    >>> are_multiples(ones, [-2 * array for array in ones]), are_multiples(ones, ones)
    (True, False)
    >>> are_multiples(ones, [ones[0], 2 * ones[1]])
    False
    """
    pairs = list(zip(expected, seen, strict=False))
    if not pairs:
        return False
    precision = min(FORMATS[np.asarray(want).dtype].precision for want, _ in pairs)
    tolerance = 2.0 ** -(precision // 2)
    wanted, given = (np.concatenate([np.ravel(pair[i]).astype(FLOAT64) for pair in pairs]) for i in (0, 1))
    with np.errstate(all="ignore"):
        ratios = given / wanted
    ratios = ratios[np.isfinite(ratios) & (wanted != 0)]
    if not len(ratios):
        return False
    factor = float(np.median(ratios))
    near = np.abs(ratios - factor) <= tolerance * abs(factor)
    return bool(abs(factor - 1) > tolerance and factor != 0 and near.mean() >= MOST_ELEMENTS)


def _near(case: Case, trajectory: Trajectory, observed: Trajectory) -> int:
    """Return how many elements of the last records agree to half of the digits of their dtype."""
    near = 0
    for want, got in arrays_of_both(case, trajectory[-1], observed[-1]):
        precision = FORMATS[want.dtype].precision
        with np.errstate(all="ignore"):
            one, other = want.astype(FLOAT64), got.astype(FLOAT64)
            near += int(np.isclose(one, other, 2.0 ** -(precision // 2), 0.0, equal_nan=True).sum())
    return near


@cache
def _replaced(name: str) -> frozenset[str]:
    """Return the methods that a deviation replaces, if it is known for all of them when they are called."""
    replaced = {
        method
        for cls in DEVIATIONS[name].optimizer.__mro__
        if issubclass(cls, SGD) and cls is not SGD
        for method, function in vars(cls).items()
        if hasattr(SGD, method) and (callable(function) or isinstance(function, (classmethod, staticmethod)))
    }
    return frozenset(replaced) if replaced <= NEEDS.keys() else frozenset()


def _is_called(case: Case, method: str) -> bool:
    return any(
        case.loss_scaling is not None
        if name == "loss_scaling"
        else case.config.get(name) not in (None, False, 0.0 if name == "momentum" else None)
        for name in NEEDS[method]
    )
