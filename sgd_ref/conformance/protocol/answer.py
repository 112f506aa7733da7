"""The line with which an implementation answers a case: a trajectory, or the reason why there is none."""

from __future__ import annotations

from typing import Any

from sgd_ref.conformance.catalogue.case import Case, Record, Unsupported
from sgd_ref.conformance.protocol import encoding
from sgd_ref.conformance.protocol.failures import ImplementationError, InvalidAnswer, showable
from sgd_ref.validation import integer_at_least, reject_type, reject_value, text

OUTCOMES = ("trajectory", "unsupported", "error")

BYTES_BESIDE_ARRAYS = 2**20

BYTES_OF_ONE_ELEMENT = 100
"""Enough for variable, velocity, average and accumulator in float64: four times 16 digits and a space."""


def longest_answer(case: Case) -> int:
    """Return how many bytes an answer may have, so that junk cannot fill the memory.

    >>> longest_answer(Case(id="none", config={}, names=(), variables=(), gradients=()))
    1048576
    """
    elements = sum(variable.size + 1 for variable in case.variables)
    records = len(case.gradients) + case.finalize
    return BYTES_BESIDE_ARRAYS + BYTES_OF_ONE_ELEMENT * elements * records


def trajectory_of(case: Case, line: bytes) -> list[Record]:
    """Return the trajectory that an answer holds.

    Raises
    ------
    Unsupported, ImplementationError
        If the answer says so.
    InvalidAnswer
        If the line is no answer to the case.
    """
    try:
        answer = encoding.from_line(line)
        if answer.pop("id", None) != case.id or len(answer) != 1:
            raise ValueError(f"the keys must be 'id', here {case.id!r}, and one of {', '.join(OUTCOMES)}")
        outcome, content = answer.popitem()
        if outcome == "trajectory":
            trajectory = encoding.trajectory_from_json(content)
            _check_variables(case, trajectory)
            return trajectory
        if outcome == "unsupported":
            raise Unsupported(showable(text("unsupported", content)))
        if outcome == "error":
            raise _error(content)
        raise ValueError(f"{outcome!r} must be one of {', '.join(OUTCOMES)}")
    except (TypeError, ValueError) as error:
        raise InvalidAnswer(f"it is no answer to the case: {showable(str(error))}") from error


def _error(content: Any) -> ImplementationError:
    if not isinstance(content, dict):
        reject_type("error", content, "an object with the keys type, message and call")
    if set(content) != {"type", "message", "call"}:
        reject_value("the keys of error", sorted(content), "type, message and call")
    if not isinstance(content["message"], str):
        reject_type("error.message", content["message"], "a string")
    call = content["call"]
    index = None if call is None else integer_at_least("error.call", call, 0)
    return ImplementationError(
        showable(text("error.type", content["type"])), showable(content["message"]), index
    )


def _check_variables(case: Case, trajectory: list[Record]) -> None:
    records = len(case.gradients) + case.finalize
    if len(trajectory) != records:
        reject_value("the number of records", len(trajectory), f"{records}")
    expected = [_form(variable) for variable in case.variables]
    for index, record in enumerate(trajectory):
        found = [_form(variable) for variable in record["variables"]]
        if found != expected:
            reject_value(f"the dtypes and shapes of record {index}.variables", found, f"{expected}")


def _form(array: Any) -> str:
    return f"{array.dtype.name}{list(array.shape)}"
