"""The recorder: it judges each step, keeps the steps around the first finding, and then stops."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sgd_ref.arithmetic.formats import Array
from sgd_ref.conformance.deviations import Basis
from sgd_ref.conformance.trajectories.comparison import same_bits
from sgd_ref.conformance.watching.judge import Judge, Verdict
from sgd_ref.conformance.watching.sample import chosen_elements
from sgd_ref.conformance.watching.steps import Group, Parameter, Step, Values
from sgd_ref.conformance.watching.window import AFTER, BEFORE, FIRST


class Recorder:
    """The object to which a watched loop reports its steps.

    Parameters
    ----------
    parameters : sequence of Parameter
        All parameters of the model.
    basis : Basis
        The rule.
    sample : int or None
        How many elements to look at.
    seed : int
        The seed for choosing these elements.
    calls : int
        The number of calls of the optimizer before the first step.

    Attributes
    ----------
    elements : list of ndarray or None
        For each parameter which elements are looked at, in C order; None for all of them.
    number : int
        The number of steps so far.
    exact : int
        The number of judged steps that have the bits of the rule.
    finding : Verdict or None
        The verdict on step `found_in`, the first step with a violation.
    changed_between : list of int
        The numbers of steps before which something other than the optimizer changed a variable or its state.
    seconds : float
        The time that watching took.
    """

    def __init__(
        self, parameters: Sequence[Parameter], basis: Basis, sample: int | None, seed: int, calls: int = 0
    ) -> None:
        self.parameters, self.basis = list(parameters), basis
        self.elements = chosen_elements(self.parameters, sample, seed)
        self.number = self.exact = 0
        self.finding: Verdict | None = None
        self.found_in = 0
        self.changed_between: list[int] = []
        self.seconds = 0.0
        self._judge = Judge(self.parameters, basis)
        self._first: list[Step] = []
        self._last: deque[Step] = deque(maxlen=BEFORE)
        self._after: list[Step] = []
        self._seen_last: Values | None = None
        self._calls = calls

    @property
    def is_done(self) -> bool:
        """Whether no more steps are needed, since the finding and the steps after it were seen."""
        return self.finding is not None and len(self._after) > AFTER

    @property
    def steps(self) -> list[Step]:
        """The steps that were kept."""
        kept = {step.number: step for step in (*self._first, *self._last, *self._after)}
        return [kept[number] for number in sorted(kept)]

    @property
    def is_sampled(self) -> bool:
        """Whether not all elements are looked at."""
        return any(elements is not None for elements in self.elements)

    def needs_squares(self, groups: Sequence[Group]) -> bool:
        """Whether norms include elements that are not judged together with the others.

        Raises
        ------
        ValueError
            If they do, and the norms are of accumulated gradients, which no optimizer shows.
        """
        dtypes = {parameter.dtype for parameter in self.parameters}
        is_shared = len(groups) > 1 or len(dtypes) > 1
        needed = any(
            group.config["clipnorm" if not is_global else "global_clipnorm"] is not None
            and (self.is_sampled or (is_global and is_shared))
            for group in groups
            for is_global in (False, True)
        )
        if needed and any(group.config["gradient_accumulation_steps"] is not None for group in groups):
            raise ValueError(
                "gradients that are accumulated and clipped by a norm can be watched only with sample=None, "
                "and under a common norm only if all have one dtype"
            )
        return needed

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Add the time of the block to the time that watching takes."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - started

    def add(
        self,
        groups: tuple[Group, ...],
        rates: tuple[float, ...],
        before: Values,
        gradients: list[Array | None],
        after: Values,
        squares: list[float | None] | None = None,
    ) -> None:
        """Judge a step; see ``steps.Step``."""
        follows = self._seen_last is None or _same(self._seen_last, before)
        step = Step(self.number, self._calls, groups, rates, before, gradients, after, squares or [], follows)
        if not follows:
            self.changed_between.append(step.number)
        self.number += 1
        self._calls += 1
        self._seen_last = after
        if self.finding is not None:
            self._after.append(step)
            return
        verdict = self._judge.judge(step)
        if verdict.violation is not None:
            self.finding, self.found_in = verdict, step.number
            self._after.append(step)
            return
        self.exact += verdict.is_exact
        if len(self._first) < FIRST:
            self._first.append(step)
        self._last.append(step)

    def start_from(self, values: Values) -> None:
        """Tell what was seen before the first step, if that step may start from something else."""
        if self._seen_last is None:
            self._seen_last = values

    def count(self) -> None:
        """Count a step that is not judged."""
        self.number += 1


def _same(last: Values, now: Values) -> bool:
    return all(
        same_bits(one, other)
        for quantity, arrays in vars(last).items()
        for one, other in zip(arrays or (), getattr(now, quantity) or (), strict=False)
    )
