"""The walk along a trajectory: a faithful evaluation must be able to give each observed value."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT64, Array
from sgd_ref.conformance.bounds import rule
from sgd_ref.conformance.bounds.enclosure import Arithmetic, Enclosure, arithmetic_of
from sgd_ref.conformance.bounds.off import state_of_nothing
from sgd_ref.conformance.bounds.rate import Rates
from sgd_ref.conformance.bounds.settings import LEARNING_RATE, LOSS_SCALE, ROUNDED, Held, Reading, held
from sgd_ref.conformance.bounds.step import Moment, Prepared, clipped, mean, prepared, updated
from sgd_ref.conformance.bounds.violation import DIGITS, DIGITS_OF_SINGLE, Violation
from sgd_ref.conformance.bounds.window import Window
from sgd_ref.conformance.catalogue.case import Case, Record, Trajectory
from sgd_ref.conformance.trajectories.comparison import COUNTERS, LISTS, equal_bits, has_state
from sgd_ref.gradients import SparseRows
from sgd_ref.optimizer import SGD

Slot = Array | Enclosure | None
"""The knowledge of one array of state: its bits, an enclosure of its elements, or None without such state."""


class Walk:
    """One reading of a trajectory, from its first call to its first violation.

    Parameters
    ----------
    case : Case
        The case.
    expected : trajectory
        The trajectory of the reference, for counters and documented learning rates.
    observed : trajectory
        Of the form that ``check_form`` checks.
    reading : mapping
        How the implementation holds its settings.
    is_state_hidden : bool
        Whether its state may be wider than the reported one, so that every call goes on from enclosures.
        Otherwise a call goes on from the reported state, if there is one.
    flushes : bool
        Whether subnormal numbers may become zero.
    everywhere : bool
        Whether all elements are enclosed, not only those that differ from the reference.
    dtype : dtype or None
        The dtype of the variables to walk along; None for all. Settings may be held differently in each
        dtype.

    Extending
    ---------
    A subclass has the bounds for another answer to an open question. It sets ``optimizer``, the optimizer
    whose trajectory is `expected`, and overrides ``prepared``, ``mean_of_window``, ``reset`` or ``clipped``.
    It sets ``has_bounds_of_its_own`` if its bounds may differ even in calls with the reference's bits.
    """

    optimizer: type[SGD] = SGD
    """The optimizer that reads the schedules in the configs of cases."""

    has_bounds_of_its_own = False
    """Whether bounds may differ before the first call that has other bits than the reference."""

    def __init__(
        self,
        case: Case,
        expected: Trajectory,
        observed: Trajectory,
        reading: Reading,
        is_state_hidden: bool = False,
        flushes: bool = False,
        everywhere: bool = False,
        dtype: np.dtype[Any] | None = None,
    ) -> None:
        self._case, self._expected, self._observed = case, expected, observed
        self._reading, self._is_state_hidden, self._flushes = reading, is_state_hidden, flushes
        self._rates = Rates(case, self.optimizer)
        dtypes = {variable.dtype for variable in case.variables}
        self._arithmetics = {dtype: arithmetic_of(dtype, flushes) for dtype in dtypes}
        self._held = {dtype: held(case, of, reading) for dtype, of in self._arithmetics.items()}
        self._indices = [
            self._concerned(position, everywhere) if dtype in (None, variable.dtype) else np.empty(0, np.intp)
            for position, variable in enumerate(case.variables)
        ]
        self._slots = {quantity: self._initial(quantity) for quantity in LISTS}
        self._window = Window(case, self._arithmetics)
        self.enclosed: list[tuple[int, str, int, Enclosure]] = []
        """The enclosures of stored values, with call, quantity and position of the variable."""

    def first_violation(self) -> Violation | None:
        """Return the first value that is not possible, in the order of the rule."""
        with np.errstate(all="ignore"):
            return next(self._violations(), None)

    def _violations(self) -> Iterator[Violation]:
        for call, (wanted, given) in enumerate(zip(self._expected, self._observed, strict=True)):
            yield from self._scalars(call, wanted, given)
            yield from state_of_nothing(call, self._case, given)
            if call == len(self._case.gradients):
                yield from self._finalized(call, given)
            elif self._calls_before(call) == wanted["calls"]:
                yield from self._unchanged(call, given, LISTS)
            else:
                yield from self._called(call, wanted, given)

    def _scalars(self, call: int, wanted: Record, given: Record) -> Iterator[Violation]:
        for quantity in (*COUNTERS, "loss_scale"):
            want, got = wanted.get(quantity), given.get(quantity)
            if want is not None and got is not None and float(want) != float(got):
                yield Violation(call, quantity, "", (), float(got), float(want), float(want))
        documented, reported = wanted.get("learning_rate"), given.get("learning_rate")
        if documented is not None and not self._rates.is_possible(
            call, self._calls_before(call), documented, reported
        ):
            yield Violation(call, "learning_rate", "", (), float(reported or 0), documented, documented)

    def _called(self, call: int, wanted: Record, given: Record) -> Iterator[Violation]:
        steps = self._case.config["gradient_accumulation_steps"]
        gradients = self._unscaled(call)
        if steps is not None and wanted["calls"] % steps:
            for position, gradient in enumerate(gradients):
                yield from self._accumulated(call, position, gradient, given)
            yield from self._unchanged(call, given, ("variables", "velocities", "averages"))
            return
        if steps is not None:
            gradients = [
                self.mean_of_window(position, gradient) for position, gradient in enumerate(gradients)
            ]
            for position in range(len(gradients)):
                yield from self._copied(call, "accumulators", position, self.reset(call, position), given)
        settings = [self._held[variable.dtype] for variable in self._case.variables]
        for position, gradient in enumerate(self.clipped(gradients, settings)):
            yield from self._updated(call, position, gradient, wanted, given)

    def prepared(
        self, gradient: Array | SparseRows, arithmetic: Arithmetic, loss_scale: float | None
    ) -> Prepared:
        """Return a gradient in the arithmetic of its variable, unscaled; see ``step.prepared``."""
        return prepared(gradient, arithmetic, loss_scale)

    def mean_of_window(self, position: int, gradient: Prepared | None) -> Prepared | None:
        """Return the mean for a variable whose window ends with a gradient, or with None."""
        return None if gradient is None else self._mean(position, gradient)

    def reset(self, call: int, position: int) -> Slot:
        """Forget the window of a variable, and return the content of its accumulator after the update."""
        self._window.clear(position)
        return np.zeros_like(self._case.variables[position])

    def clipped(
        self, gradients: Sequence[Prepared | None], settings: Sequence[Held]
    ) -> list[Prepared | None]:
        """Return the examined elements, clipped; see ``step.clipped``."""
        return clipped(gradients, self._indices, settings, self._held_in)

    def _accumulated(
        self, call: int, position: int, gradient: Prepared | None, given: Record
    ) -> Iterator[Violation]:
        accumulator = self._slots["accumulators"][position]
        self._window.add(position, gradient)
        if gradient is None:
            yield from self._copied(call, "accumulators", position, accumulator, given)
            return
        before = self._enclosure(accumulator, position)
        assert before is not None
        total = rule.accumulate(gradient.at(self._indices[position]).gradient, before)
        yield from self._seen(call, "accumulators", position, total, given)

    def _updated(
        self, call: int, position: int, gradient: Prepared | None, wanted: Record, given: Record
    ) -> Iterator[Violation]:
        config, variable = self._case.config, self._slots["variables"][position]
        result: Slot = variable
        if gradient is None:
            yield from self._copied(call, "velocities", position, self._slots["velocities"][position], given)
        else:
            w = self._enclosure(variable, position)
            assert w is not None
            moment = Moment(
                w,
                self._enclosure(self._slots["velocities"][position], position),
                self._reported(given, "velocities", position),
                self._rates.is_constant,
                self._is_decayed(position),
                bool(config["nesterov"]),
            )
            result, velocity = updated(
                moment,
                gradient,
                self._rate(call, wanted, given, position),
                self._settings(position),
            )
            if velocity is not None:
                yield from self._seen(call, "velocities", position, velocity, given)
        yield from self._averaged(call, position, result, wanted, given)

    def _averaged(
        self, call: int, position: int, result: Slot, wanted: Record, given: Record
    ) -> Iterator[Violation]:
        frequency = self._case.config["ema_overwrite_frequency"]
        averages = bool(self._case.config["use_ema"])
        overwrites = averages and frequency is not None and wanted["iterations"] % frequency == 0
        if not overwrites:
            yield from self._seen_or_copied(call, "variables", position, result, given)
        if averages:
            # The new value if it is known; otherwise its enclosure.
            w = self._slots["variables"][position] if not overwrites else result
            if isinstance(w, np.ndarray) and isinstance(result, Enclosure):
                enclosed: Enclosure | None = result.rounded_to(w.reshape(-1)[self._indices[position]])
            else:
                enclosed = self._enclosure(w, position)
            assert enclosed is not None
            if wanted["iterations"] == 1:
                yield from self._seen_or_copied(call, "averages", position, w, given)
            else:
                settings = self._settings(position)
                before = self._enclosure(self._slots["averages"][position], position)
                assert before is not None
                average = rule.average(before, enclosed, settings.ema_momentum, settings.complement)
                yield from self._seen(call, "averages", position, average, given)
        if overwrites:
            yield from self._copied(call, "variables", position, self._slots["averages"][position], given)

    def _finalized(self, call: int, given: Record) -> Iterator[Violation]:
        averaged = bool(self._case.config["use_ema"]) and self._iterations_before(call) > 0
        for position in range(len(self._case.variables)):
            source = "averages" if averaged else "variables"
            yield from self._copied(call, "variables", position, self._slots[source][position], given)
        yield from self._unchanged(call, given, ("velocities", "averages", "accumulators"))

    def _unchanged(self, call: int, given: Record, quantities: Sequence[str]) -> Iterator[Violation]:
        for quantity in quantities:
            for position, slot in enumerate(self._slots[quantity]):
                yield from self._copied(call, quantity, position, slot, given)

    def _seen_or_copied(
        self, call: int, quantity: str, position: int, result: Slot, given: Record
    ) -> Iterator[Violation]:
        if isinstance(result, Enclosure):
            yield from self._seen(call, quantity, position, result, given)
        else:
            yield from self._copied(call, quantity, position, result, given)

    def _seen(
        self, call: int, quantity: str, position: int, result: Enclosure, given: Record
    ) -> Iterator[Violation]:
        """Compare an enclosure with the reported values, and return the knowledge to go on from."""
        index = self._indices[position]
        stored = result.stored()
        self.enclosed.append((call, quantity, position, stored))
        array = _array(given, quantity, position)
        if array is not None and index.size:
            elements = array.reshape(-1)[index]
            yield from self._outside(call, quantity, position, elements, stored, stored.holds(elements))
        is_state = array is not None and not self._is_state_hidden
        self._slots[quantity][position] = array if is_state else result.kept()

    def _copied(
        self, call: int, quantity: str, position: int, source: Slot, given: Record
    ) -> Iterator[Violation]:
        """Compare values that were only copied: not even the sign of zero may change."""
        index = self._indices[position]
        array = _array(given, quantity, position)
        self._slots[quantity][position] = source
        if array is None or source is None or not index.size:
            return
        elements = array.reshape(-1)[index]
        if isinstance(source, np.ndarray):
            known = source.reshape(-1)[index]
            stored = self._arithmetics[known.dtype].point(known)
            yield from self._outside(call, quantity, position, elements, stored, equal_bits(known, elements))
        else:
            stored = source.stored()
            yield from self._outside(call, quantity, position, elements, stored, stored.holds(elements))
        if not self._is_state_hidden:
            self._slots[quantity][position] = array

    def _outside(
        self, call: int, quantity: str, position: int, elements: Array, stored: Enclosure, inside: Array
    ) -> Iterator[Violation]:
        for place in np.flatnonzero(~inside)[:1]:
            shape = self._case.variables[position].shape
            element = np.unravel_index(self._indices[position][place], shape)
            yield Violation(
                call,
                quantity,
                self._case.names[position],
                tuple(int(index) for index in element),
                float(elements[place]),
                float(stored.lower[place]),
                float(stored.upper[place]),
                bool(np.broadcast_to(stored.nan, stored.lower.shape)[place]),
                DIGITS if elements.dtype == FLOAT64 else DIGITS_OF_SINGLE,
            )

    def _unscaled(self, call: int) -> list[Prepared | None]:
        scale = self._case.config["loss_scale_factor"]
        if self._case.loss_scaling is not None:
            scale = self._scale_before(call)
        return [
            None
            if gradient is None or not (self._indices[position].size or self._has_norm)
            else self.prepared(gradient, self._arithmetics[variable.dtype], self._held_scale(scale, variable))
            for position, (gradient, variable) in enumerate(
                zip(self._case.gradients[call], self._case.variables, strict=True)
            )
        ]

    def _held_scale(self, scale: float | None, variable: Array) -> float | None:
        if scale is None or variable.dtype == FLOAT64 or self._reading.get(LOSS_SCALE, ROUNDED) != ROUNDED:
            return scale
        return float(np.float32(scale))

    def _mean(self, position: int, gradient: Prepared | None) -> Prepared:
        steps = self._settings(position).steps
        assert steps is not None
        accumulator = self._slots["accumulators"][position]
        if isinstance(accumulator, np.ndarray) and self._observed[0].get("accumulators"):
            known = self._arithmetics[accumulator.dtype].point(accumulator.reshape(-1))
            return mean([*([] if gradient is None else [gradient]), Prepared(known)], steps)
        return self._window.mean(position, gradient, steps)

    def _initial(self, quantity: str) -> list[Slot]:
        variables = self._case.variables
        if quantity == "variables":
            return list(variables)
        if not has_state(self._case, quantity):
            return [None] * len(variables)
        state = self._case.state
        given = () if state is None else getattr(state, quantity)
        return list(given) or [np.zeros_like(variable) for variable in variables]

    def _concerned(self, position: int, everywhere: bool) -> Array:
        """Return the elements whose reported values ever differ from the reference.

        Other elements need no enclosure, since the reference is a faithful evaluation.
        """
        size = self._case.variables[position].size
        differs = np.full(size, everywhere)
        for wanted, given in zip(self._expected, self._observed, strict=True):
            for quantity in LISTS:
                array = _array(given, quantity, position)
                if array is not None and wanted[quantity]:
                    differs |= ~equal_bits(wanted[quantity][position], array).reshape(-1)
        return np.flatnonzero(differs)

    def _enclosure(self, slot: Slot, position: int) -> Enclosure | None:
        if isinstance(slot, np.ndarray):
            return self._arithmetics[slot.dtype].point(slot.reshape(-1)[self._indices[position]])
        return slot

    def _reported(self, given: Record, quantity: str, position: int) -> Array | None:
        array = None if self._is_state_hidden else _array(given, quantity, position)
        return None if array is None else array.reshape(-1)[self._indices[position]]

    def _rate(self, call: int, wanted: Record, given: Record, position: int) -> Enclosure:
        arithmetic = self._arithmetic(position)
        kind = self._reading.get(LEARNING_RATE, ROUNDED)
        reported = given.get("learning_rate")
        calls = self._calls_before(call)
        return self._rates.held(call, calls, wanted["learning_rate"], reported, arithmetic, kind)

    def _arithmetic(self, position: int) -> Arithmetic:
        return self._arithmetics[self._case.variables[position].dtype]

    def _held_in(self, dtype: np.dtype[Any]) -> Held:
        if dtype in self._held:
            return self._held[dtype]
        return held(self._case, arithmetic_of(dtype, self._flushes), self._reading)

    def _settings(self, position: int) -> Held:
        return self._held[self._case.variables[position].dtype]

    def _is_decayed(self, position: int) -> bool:
        name = self._case.names[position]
        return not any(part in name for part in self._case.excluded_from_weight_decay)

    @property
    def _has_norm(self) -> bool:
        return self._case.config["global_clipnorm"] is not None

    def _calls_before(self, call: int) -> int:
        if call:
            return int(self._expected[call - 1]["calls"])
        return 0 if self._case.state is None else self._case.state.calls

    def _iterations_before(self, call: int) -> int:
        return self._calls_before(call) // (self._case.config["gradient_accumulation_steps"] or 1)

    def _scale_before(self, call: int) -> float:
        scaling, state = self._case.loss_scaling, self._case.state
        assert scaling is not None
        first = scaling.initial_scale if state is None or state.loss_scale is None else state.loss_scale
        return float(self._expected[call - 1]["loss_scale"] if call else np.float32(first))


def _array(record: Record, quantity: str, position: int) -> Array | None:
    arrays = record.get(quantity)
    return np.asarray(arrays[position]) if arrays else None
