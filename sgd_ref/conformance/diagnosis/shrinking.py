"""Shrinking a case: the smallest and plainest one on which an implementation still fails."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.catalogue.layouts import with_layouts
from sgd_ref.conformance.diagnosis import reductions
from sgd_ref.conformance.protocol.encoding import case_to_json, to_line
from sgd_ref.conformance.trajectories import reference
from sgd_ref.gradients import SparseRows

PREFIX = "shrunk/"
SCALES = ("loss_scale_factor",)
PLAIN_ELEMENTS = (0.0, 1.0, 0.5, -1.0)


def shrink(case: Case, still: Callable[[Case], bool], most_runs: int = 400) -> Case:
    """Return the smallest case found on which an implementation still fails.

    Features are turned off, then calls, variables and elements are left out, then numbers are replaced by
    plainer ones. This repeats until nothing more can be removed. The search is greedy and not random.

    Parameters
    ----------
    case : Case
        A case that shows the failure. It is not changed.
    still : callable
        Whether the implementation fails on a case in the same way.
    most_runs : int, default 400
        The largest number of calls of `still`.

    Returns
    -------
    Case
        A case for which `still` was true and which the reference can run. Its id is ``shrunk/`` and the old
        id; `features` and `exposes` are empty, since those of the catalogue no longer apply.

    Raises
    ------
    ValueError
        If `still` is false for the case itself.

    Notes
    -----
    Things are left out in halves, quarters and so on down to single ones: Zeller and Hildebrandt,
    "Simplifying and isolating failure-inducing input", IEEE Transactions on Software Engineering 28 (2002).

    Examples
    --------
    >>> from sgd_ref import conformance
    >>> case = conformance.cases("smoke")[0]
    >>> small = shrink(case, lambda case: any((g != 0).any() for g in case.gradients[-1]))
    >>> small.variables, small.gradients
    ((array(0., dtype=float32),), ((array(1., dtype=float32),),))
    """
    search = _Search(_renamed(case), still, most_runs)
    before = None
    while before is not search.best:
        before = search.best
        _turn_off_features(search)
        _leave_out_calls(search)
        _leave_out_variables(search)
        _leave_out_elements(search)
        _simplify_settings(search)
        _simplify_counters(search)
        _simplify_elements(search)
    return search.best


class _Search:
    """The best case so far, and the cases already tried."""

    def __init__(self, case: Case, still: Callable[[Case], bool], most_runs: int) -> None:
        self.best = case
        self._still = still
        self._runs_left = most_runs
        self._tried: set[bytes] = set()
        if not self.accepts(case):
            raise ValueError(f"still must be true for a case that the reference can run, got {case.notes}")

    @property
    def is_exhausted(self) -> bool:
        """Whether no more runs are allowed."""
        return self._runs_left <= 0

    def accepts(self, candidate: Case) -> bool:
        """Make a candidate the best case if it still shows the failure."""
        if self.is_exhausted:
            return False
        candidate = with_layouts(candidate)
        text = to_line(case_to_json(candidate))
        if text in self._tried:
            return False
        self._tried.add(text)
        if not _is_valid(candidate):
            return False
        self._runs_left -= 1
        if not self._still(candidate):
            return False
        self.best = candidate
        return True

    def accepts_one_of(self, candidates: Iterable[Case]) -> bool:
        """Make the first candidate that still shows the failure the best case."""
        return any(self.accepts(candidate) for candidate in candidates)

    def keep_fewest(self, count: int, with_kept: Callable[[Case, Sequence[int]], Case]) -> None:
        """Leave out as many of the numbered parts as possible, but not all of them."""
        whole = self.best
        kept = list(range(count))
        size = count // 2
        while size:
            start = 0
            while start < len(kept):
                fewer = kept[:start] + kept[start + size :]
                if fewer and self.accepts(with_kept(whole, fewer)):
                    kept = fewer
                else:
                    start += size
            size //= 2


def _renamed(case: Case) -> Case:
    notes = f"shrunk from {case.id}" + (f": {case.notes}" if case.notes else "")
    return replace(case, id=PREFIX + case.id, notes=notes, features=None, exposes=())


def _is_valid(case: Case) -> bool:
    try:
        reference.run(case)
    except (TypeError, ValueError):
        return False
    return True


def _turn_off_features(search: _Search) -> None:
    search.accepts(reductions.without_layouts(search.best))
    for changes in reductions.PLAIN_CONFIGS:
        search.accepts(reductions.with_config(search.best, changes))
    search.accepts(reductions.without_loss_scaling(search.best))
    search.accepts(replace(search.best, state=None))
    search.accepts(replace(search.best, excluded_from_weight_decay=()))
    search.accepts(replace(search.best, finalize=False))
    search.accepts(reductions.with_dense_gradients(search.best))
    search.accepts(reductions.with_every_gradient(search.best))
    search.accepts(reductions.with_wide_gradients(search.best))
    search.accepts(reductions.with_flat_variables(search.best))
    _make_the_rate_constant(search)


def _make_the_rate_constant(search: _Search) -> None:
    case = search.best
    if not isinstance(case.config.get("learning_rate"), dict) and case.learning_rate_calls is None:
        return
    rates = [float(record["learning_rate"]) for record in reference.run(case)[: len(case.gradients)]]
    constants = dict.fromkeys((reductions.PLAIN_NUMBERS[0], *rates))
    if not search.accepts_one_of(reductions.with_constant_rate(case, rate) for rate in constants):
        search.accepts(reductions.with_given_rates(case, rates))


def _leave_out_calls(search: _Search) -> None:
    search.keep_fewest(len(search.best.gradients), reductions.with_calls)


def _leave_out_variables(search: _Search) -> None:
    # A case that fails without any elements is easier to read with one element.
    sizes = [array.size for array in search.best.variables]
    if any(sizes) and not all(sizes):
        filled = [position for position, size in enumerate(sizes) if size]
        search.accepts(reductions.with_variables(search.best, filled))
    search.keep_fewest(len(search.best.variables), reductions.with_variables)


def _leave_out_elements(search: _Search) -> None:
    for variable, array in enumerate(search.best.variables):
        for axis, length in enumerate(array.shape):
            search.keep_fewest(length, partial(reductions.with_part, variable=variable, axis=axis))
    for call, gradients in enumerate(search.best.gradients):
        for variable, gradient in enumerate(gradients):
            if isinstance(gradient, SparseRows):
                with_rows = partial(reductions.with_sparse_rows, call=call, variable=variable)
                search.keep_fewest(len(gradient.indices), with_rows)


def _simplify_settings(search: _Search) -> None:
    for path in list(reductions.number_paths(search.best.config)):
        config = search.best.config
        if path == ("ema_momentum",) and not config.get("use_ema"):
            continue
        numbers = reductions.plainer_numbers(reductions.number_at(config, path), path[-1] in SCALES)
        search.accepts_one_of(
            reductions.with_config(search.best, reductions.with_number_at(config, path, number))
            for number in numbers
        )
    for call, rate in enumerate(search.best.learning_rate_calls or ()):
        rates = list(search.best.learning_rate_calls or ())
        search.accepts_one_of(
            reductions.with_given_rates(search.best, [*rates[:call], number, *rates[call + 1 :]])
            for number in reductions.plainer_numbers(float(rate))
        )
    scaling = search.best.loss_scaling
    if scaling is not None:
        search.accepts_one_of(
            replace(search.best, loss_scaling=replace(scaling, initial_scale=scale))
            for scale in reductions.plainer_numbers(float(scaling.initial_scale), is_scale=True)
        )


def _simplify_counters(search: _Search) -> None:
    scaling, state = search.best.loss_scaling, search.best.state
    if scaling is not None:
        search.accepts_one_of(
            replace(search.best, loss_scaling=replace(scaling, dynamic_growth_steps=steps))
            for steps in reductions.PLAIN_INTEGERS
            if steps < scaling.dynamic_growth_steps
        )
    if state is not None:
        search.accepts_one_of(
            replace(search.best, state=replace(state, calls=calls))
            for calls in (0, *reductions.PLAIN_INTEGERS)
            if calls < state.calls
        )


def _simplify_elements(search: _Search) -> None:
    elements = [
        (position, index)
        for position, array in enumerate(reductions.arrays(search.best))
        for index in range(array.size)
    ]
    groups = [elements] if elements else []
    while groups and not search.is_exhausted:
        group = groups.pop()
        _simplify_together(search, group)
        if len(group) > 1:
            half = len(group) // 2
            groups += [group[half:], group[:half]]


def _simplify_together(search: _Search, group: Sequence[tuple[int, int]]) -> None:
    """Replace some elements of arrays by plainer numbers, all of them by the same rule."""
    rules: list[Callable[[float], float]] = [_always(plain) for plain in PLAIN_ELEMENTS]
    rules += [partial(reductions.cut_to, precision=precision) for precision in reductions.PRECISIONS]
    for rule in rules:
        candidate = _with_plainer_elements(search.best, group, rule)
        if candidate is not None and search.accepts(candidate):
            return


def _always(plain: float) -> Callable[[float], float]:
    return lambda number: plain


def _with_plainer_elements(
    case: Case, group: Sequence[tuple[int, int]], rule: Callable[[float], float]
) -> Case | None:
    """Return the case with elements made plainer by a rule; None if the rule makes no element plainer."""
    values: list[Any] = list(reductions.arrays(case))
    changed: set[int] = set()
    for position, index in group:
        number = float(values[position].reshape(-1)[index])
        plainer = rule(number)
        if reductions.complexity(plainer) < reductions.complexity(number):
            if position not in changed:
                values[position] = np.array(values[position], order="C")
                changed.add(position)
            values[position].reshape(-1)[index] = plainer
    return reductions.with_arrays(case, values) if changed else None
