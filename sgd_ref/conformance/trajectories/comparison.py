"""The comparison of two trajectories: bit for bit, and by their distance in units in the last place."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT32, FORMATS, Array
from sgd_ref.conformance.catalogue.case import Case, Record, Trajectory
from sgd_ref.conformance.catalogue.records import check_keys
from sgd_ref.conformance.protocol.digest import Digest, digest_of, window_positions

LISTS = ("variables", "velocities", "averages", "accumulators")
SCALARS = ("learning_rate", "loss_scale")
COUNTERS = ("iterations", "calls", "growth_counter")


@dataclass(frozen=True)
class Difference:
    """One element that differs: where it is, both values as bits, and their distance.

    Attributes
    ----------
    call : int
        Counted from 0; the number of calls stands for the record after finalisation.
    quantity : str
        Such as "variables" or "loss_scale".
    variable : str
        Name of the variable; empty for a scalar.
    element : tuple of int
        Index of the element.
    expected, observed : str
        Bit patterns in hexadecimal, or integers for counters.
    values : tuple of float
        Expected and observed value, for readers.
    units : float
        Distance in units in the last place; infinite between NaN and a number.
    """

    call: int
    quantity: str
    variable: str
    element: tuple[int, ...]
    expected: str
    observed: str
    values: tuple[float, float]
    units: float

    def __str__(self) -> str:
        where = f"call {self.call}, {self.quantity}"
        if self.variable:
            where += f" of {self.variable}{list(self.element)}"
        expected, observed = self.values
        # As many digits as distinguish any two numbers of the dtype: 17 for float64, 9 for float32.
        digits = 17 if len(self.observed) > len("0x00000000") else 9
        return (
            f"{where}: expected {self.expected} ({expected:.{digits}g}), "
            f"got {self.observed} ({observed:.{digits}g}), {describe_units(self.units)}"
        )


@dataclass(frozen=True)
class Comparison:
    """A summary of the differences between two trajectories.

    Attributes
    ----------
    first : Difference or None
        The first element that differs, in order of calls.
    differing, compared : int
        Number of elements that differ, and number of all elements that were compared.
    units : float
        The largest distance.
    """

    first: Difference | None
    differing: int
    compared: int
    units: float

    @property
    def equal(self) -> bool:
        """Whether every element has the same bits."""
        return self.first is None


def describe_units(units: float) -> str:
    """Return a distance in words.

    >>> describe_units(1.0), describe_units(0.0), describe_units(float("inf"))
    ('1 unit apart', 'apart in the sign of zero', 'NaN or a number')
    """
    if units == 0:
        return "apart in the sign of zero"
    if math.isinf(units):
        return "NaN or a number"
    return f"{units:.6g} unit{'' if units == 1 else 's'} apart"


def equal_bits(expected: Array, observed: Array) -> Array:
    """Return where two arrays of one dtype have the same bits; all NaNs count as equal.

    >>> equal_bits(np.array([0.0, np.nan], "f4"), np.array([-0.0, -np.nan], "f4"))
    array([False,  True])
    """
    same = _bits(expected) == _bits(observed)
    return np.asarray(same | (_is_nan(expected) & _is_nan(observed)))


def same_bits(expected: Array | Digest, observed: Any) -> bool:
    """Whether two arrays of one shape and dtype, or their digests, have the same bits everywhere.

    >>> same_bits(np.zeros(2), np.zeros(2)), same_bits(np.zeros(2), digest_of(np.ones(2)))
    (True, False)
    """
    if isinstance(expected, Digest) or isinstance(observed, Digest):
        return _between_digests(0, "", "", expected, observed) is None
    return bool(equal_bits(expected, np.asarray(observed)).all())


def units_apart(expected: Array, observed: Array) -> Array:
    """Return the distance of two arrays of one dtype in units in the last place, as float64.

    The unit is the step from one number of the dtype to the next; +0.0 and -0.0 are 0 apart, infinity
    is one step past the largest number, and NaN is infinitely far from any number.

    >>> units_apart(np.array([1.0, 0.0, 1.0], "f4"), np.array([1.0000001, -0.0, np.nan], "f4"))
    array([ 1.,  0., inf])
    """
    steps = _steps(expected, observed)
    nan = _is_nan(expected) != _is_nan(observed)
    both = _is_nan(expected) & _is_nan(observed)
    return np.where(both, 0.0, np.where(nan, math.inf, steps)).astype(np.float64)


def reported(wanted: Record, given: Record) -> tuple[str, ...]:
    """Return the quantities that two records both hold.

    >>> reported({"variables": [np.ones(1)], "velocities": [], "calls": 1}, {"variables": [np.ones(1)]})
    ('variables',)
    """
    return tuple(
        quantity
        for quantity in (*SCALARS, *LISTS, *COUNTERS)
        if not (_is_nothing(wanted.get(quantity)) or _is_nothing(given.get(quantity)))
    )


def compare(case: Case, expected: Trajectory, observed: Trajectory) -> Comparison:
    """Compare every quantity that both trajectories hold.

    The observed trajectory must have the right number of records, and arrays of the right shapes and
    dtypes; see ``check_form``.
    """
    first: Difference | None = None
    differing = compared = 0
    largest = 0.0
    for call, (wanted, given) in enumerate(zip(expected, observed, strict=True)):
        for quantity, variable, want, got in _pairs(case, wanted, given):
            if isinstance(want, Digest) or isinstance(got, Digest):
                compared += want.size
                difference = _between_digests(call, quantity, variable, want, got)
                if difference is not None:
                    differing, largest = differing + 1, max(largest, difference.units)
                    first = first or difference
                continue
            unequal = ~equal_bits(want, got)
            compared += want.size
            count = int(np.count_nonzero(unequal))
            if not count:
                continue
            units = units_apart(want, got)
            differing += count
            largest = max(largest, float(units[unequal].max()))
            if first is None:
                element = tuple(int(index) for index in np.argwhere(unequal)[0])
                first = Difference(
                    call,
                    quantity,
                    variable,
                    element,
                    hexadecimal(want[element]),
                    hexadecimal(got[element]),
                    (float(want[element]), float(got[element])),
                    float(units[element]),
                )
    return Comparison(first, differing, compared, largest)


def are_equal(case: Case, expected: Trajectory, observed: Trajectory) -> bool:
    """Whether two trajectories have the same bits in every quantity that both hold.

    >>> from sgd_ref import conformance
    >>> plain = conformance.cases("smoke")[0]
    >>> are_equal(plain, [{"variables": plain.variables}], [{"variables": plain.variables}])
    True
    """
    return all(
        # Most bytes are equal, and nothing is quicker to compare.
        (isinstance(want, np.ndarray) and isinstance(got, np.ndarray) and want.tobytes() == got.tobytes())
        or same_bits(want, got)
        for wanted, given in zip(expected, observed, strict=True)
        for _, _, want, got in _pairs(case, wanted, given)
    )


def arrays_of_both(case: Case, wanted: Record, given: Record) -> Iterator[tuple[Array, Array]]:
    """Yield the arrays of variables and of state that two records both hold.

    >>> from sgd_ref import conformance
    >>> plain = conformance.cases("smoke")[0]
    >>> records = {"variables": plain.variables, "calls": 1}, {"variables": plain.variables}
    >>> len(list(arrays_of_both(plain, *records))) == len(plain.variables)
    True
    """
    for quantity, _, want, got in _pairs(case, wanted, given):
        if quantity in LISTS:
            yield want, got


def check_form(case: Case, expected: Trajectory, observed: Any) -> None:
    """Check that an answer is a trajectory of the case, whatever its values are.

    Raises
    ------
    ValueError
        If records or variables are missing, a key is unknown, or a shape or dtype is wrong; the message says
        where.
    """
    if not isinstance(observed, (list, tuple)):
        raise ValueError(f"the trajectory must be a list of records, got {type(observed).__name__}")
    if len(observed) != len(expected):
        raise ValueError(f"the trajectory must have {len(expected)} records, got {len(observed)}")
    for call, given in enumerate(observed):
        if not isinstance(given, dict) or "variables" not in given:
            raise ValueError(f"record {call} must be a dict with the key 'variables'")
        check_keys(f"record {call}", given)
        for quantity in LISTS:
            if quantity == "variables" or not _is_nothing(given.get(quantity)):
                _check_arrays(f"record {call}", quantity, case, case.variables, given[quantity])
        for quantity in (*SCALARS, *COUNTERS):
            if given.get(quantity) is not None:
                _check_number(f"{quantity} of record {call}", quantity in COUNTERS, given[quantity])


def has_state(case: Case, quantity: str) -> bool:
    """Whether a case has state of some kind, which is so if its feature is on.

    >>> from sgd_ref import conformance
    >>> plain = conformance.cases("smoke")[0]
    >>> has_state(plain, "variables"), has_state(plain, "velocities")
    (True, False)
    """
    config = case.config
    return {
        "variables": True,
        "velocities": bool(config.get("momentum")),
        "averages": bool(config.get("use_ema")),
        "accumulators": config.get("gradient_accumulation_steps") is not None,
    }[quantity]


def before_first_call(case: Case, quantity: str, position: int) -> Array:
    """Return the array of a variable or of its state that a case begins with.

    >>> from sgd_ref import conformance
    >>> before_first_call(conformance.cases("smoke")[0], "velocities", 0).any()
    np.False_
    """
    if quantity == "variables":
        return case.variables[position]
    arrays = () if case.state is None else getattr(case.state, quantity)
    return np.asarray(arrays[position]) if arrays else np.zeros_like(case.variables[position])


def hexadecimal(value: Any) -> str:
    """Return the bit pattern of a number.

    >>> hexadecimal(np.float32(1.0))
    '0x3f800000'
    """
    array = np.asarray(value)
    if array.dtype.kind in "iu":
        return str(int(array))
    return f"0x{int(_bits(array)):0{2 * array.itemsize}x}"


def _between_digests(
    call: int, quantity: str, variable: str, want: Array | Digest, got: Array | Digest
) -> Difference | None:
    """Return how two arrays differ, at least one of them a digest; with an element if windows differ."""
    one, other = (each if isinstance(each, Digest) else digest_of(each) for each in (want, got))
    unequal = np.flatnonzero(~equal_bits(one.window, other.window))
    if len(unequal):
        first = int(unequal[0])
        element = np.unravel_index(window_positions(one.size)[first], one.shape)
        numbers = one.window[first], other.window[first]
        return Difference(
            call,
            quantity,
            variable,
            tuple(int(index) for index in element),
            hexadecimal(numbers[0]),
            hexadecimal(numbers[1]),
            (float(numbers[0]), float(numbers[1])),
            float(units_apart(one.window[first : first + 1], other.window[first : first + 1])[0]),
        )
    if one.hash == other.hash:
        return None
    hashes = f"hash {one.hash}", f"hash {other.hash}"
    return Difference(call, quantity, variable, (), *hashes, (math.nan, math.nan), math.inf)


def _is_nothing(value: Any) -> bool:
    return value is None or (isinstance(value, (list, tuple)) and not value)


def _pairs(case: Case, wanted: Record, given: Record) -> Iterator[tuple[str, str, Any, Any]]:
    for quantity in SCALARS:
        if wanted.get(quantity) is not None and given.get(quantity) is not None:
            yield quantity, "", _in_float32(wanted[quantity]), _in_float32(given[quantity])
    for quantity in LISTS:
        if wanted.get(quantity) and given.get(quantity):
            for name, want, got in zip(case.names, wanted[quantity], given[quantity], strict=True):
                yield quantity, name, want, got if isinstance(got, Digest) else np.asarray(got)
        elif given.get(quantity) and not has_state(case, quantity):
            # The state of a feature that is off may be left out, or be zeros of either sign.
            for name, array in zip(case.names, given[quantity], strict=True):
                zeros = np.zeros_like(array)
                yield quantity, name, zeros, np.where(np.asarray(array) == 0, zeros, array)
    for quantity in COUNTERS:
        if wanted.get(quantity) is not None and given.get(quantity) is not None:
            yield quantity, "", np.asarray(int(wanted[quantity])), np.asarray(int(given[quantity]))


def _check_arrays(record: str, quantity: str, case: Case, wanted: Sequence[Array], given: Any) -> None:
    if not isinstance(given, (list, tuple)):
        raise ValueError(f"{quantity} of {record} must be a list of arrays, got {type(given).__name__}")
    if len(given) != len(case.names):
        raise ValueError(f"{quantity} of {record} must have {len(case.names)} arrays, got {len(given)}")
    for name, want, array in zip(case.names, wanted, given, strict=True):
        try:
            got = array if isinstance(array, Digest) else np.asarray(array)
        except Exception as error:
            raise ValueError(f"{quantity} of {name} in {record} is no array: {error}") from error
        if got.shape != want.shape or got.dtype != want.dtype:
            raise ValueError(
                f"{quantity} of {name} in {record} must be {want.dtype} of shape {want.shape}, "
                f"got {got.dtype} of shape {got.shape}"
            )


def _check_number(name: str, is_counter: bool, value: Any) -> None:
    dtype = np.asarray(value).dtype
    if np.ndim(value) or not (dtype.kind in "iu" or (dtype in FORMATS and not is_counter)):
        accepted = "an integer" if is_counter else "a real number"
        raise ValueError(f"{name} must be {accepted}, got {value!r}")


def _in_float32(number: Any) -> Array:
    with np.errstate(all="ignore"):
        return np.asarray(number, FLOAT32)


def _is_nan(array: Array) -> Array:
    # The signalling NaNs of bfloat16 raise the processor's flag for invalid operations.
    with np.errstate(invalid="ignore"):
        return np.asarray(np.isnan(array))


def _bits(array: Array) -> Array:
    return np.ascontiguousarray(array).view(f"u{array.itemsize}").reshape(array.shape)


def _steps(one: Array, other: Array) -> Array:
    """Return how many numbers of the dtype lie between two, both zeros being one number."""
    if one.dtype.kind in "iu":
        return np.asarray(np.abs(one - other))
    sign = np.uint64(1) << np.uint64(8 * one.itemsize - 1)
    first, second = (_bits(array).astype(np.uint64) for array in (one, other))
    distances = first & ~sign, second & ~sign
    # From zero; their sum is below 2**64 for all but NaN.
    differ = (first ^ second) & sign != 0
    return np.asarray(
        np.where(differ, distances[0] + distances[1], np.maximum(*distances) - np.minimum(*distances))
    )
