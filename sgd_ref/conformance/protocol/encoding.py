"""Cases and trajectories as JSON, one line each, with every number of an array as its bits.

Arrays are written as ``arrays`` says. Sparse rows are ``{"indices": [2, 0], "values": <array>, "shape":
[4, 2]}``, and a missing gradient is ``null``.

A case whose arrays have memory layouts has one more key, ``layouts``: ``{"variables": [...], "gradients":
[...]}``, a name for each variable. The elements are in row-major order nevertheless.

Settings are finite JSON numbers, with enough digits to give the same float64 again. Every key is always
present, and ``null`` or empty if it has no meaning. A record of a trajectory must have only ``variables``.
Other keys are not accepted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import Array
from sgd_ref.conformance.catalogue.case import (
    Case,
    Layouts,
    LossScaling,
    Made,
    Record,
    State,
    Trajectory,
)
from sgd_ref.conformance.catalogue.layouts import checked_layouts, with_layouts
from sgd_ref.conformance.catalogue.records import RECORD_ARRAYS, RECORD_NUMBERS, STATE_ARRAYS
from sgd_ref.conformance.catalogue.records import check_keys as check_record_keys
from sgd_ref.conformance.protocol.arrays import (
    array_from_json,
    array_to_json,
    check_keys,
    digest_from_json,
    digest_to_json,
    listed,
    made_from_json,
    made_to_json,
    named_parts,
    string,
    texts,
)
from sgd_ref.conformance.protocol.digest import Digest
from sgd_ref.conformance.protocol.json_lines import Json, from_line, to_line
from sgd_ref.gradients import SparseRows
from sgd_ref.validation import boolean, finite_real, integer_at_least, reject_type, reject_value, text

__all__ = [
    "Json",
    "case_from_json",
    "case_to_json",
    "from_line",
    "to_line",
    "trajectory_from_json",
    "trajectory_to_json",
]

CASE_KEYS = tuple(key for key in Case.__dataclass_fields__ if key not in ("layouts", "made"))
"""The keys that every case has."""


def case_to_json(case: Case) -> Json:
    """Return a case as an object of JSON.

    Raises
    ------
    TypeError
        If a setting cannot be written as JSON, or an array has none of the four dtypes.
    ValueError
        If a setting is not finite.
    """
    document: Json = {
        "id": case.id,
        "kind": case.kind,
        "config": _setting("config", case.config),
        "names": list(case.names),
        "variables": _arrays_to_json("variables", case.variables) if case.made is None else [],
        "gradients": _gradients_to_json(case) if case.made is None else [],
        "state": None if case.state is None else _state_to_json(case.state),
        "excluded_from_weight_decay": list(case.excluded_from_weight_decay),
        "loss_scaling": None if case.loss_scaling is None else _loss_scaling_to_json(case.loss_scaling),
        "learning_rate_calls": None
        if case.learning_rate_calls is None
        else array_to_json(np.array(case.learning_rate_calls, np.float64)),
        "finalize": case.finalize,
        "features": None if case.features is None else dict(case.features),
        "learning_rate_units": case.learning_rate_units,
        "exposes": list(case.exposes),
        "notes": case.notes,
    }
    if case.made is not None:
        document |= _made_to_json(case, case.made)
    if case.layouts is not None:
        document["layouts"] = {
            "variables": list(case.layouts.variables),
            "gradients": list(case.layouts.gradients),
        }
    return document


def case_from_json(document: Any) -> Case:
    """Return the case that `case_to_json` wrote, bit by bit the same, with the layouts that it states.

    Tuples inside of the config come back as lists.

    Raises
    ------
    TypeError
        If a part of `document` has the wrong type.
    ValueError
        If keys are missing or unknown, or a part of `document` has a value that is not accepted.
    """
    has_layouts = "layouts" in named_parts("case", document)
    check_keys("case", document, (*CASE_KEYS, "layouts") if has_layouts else CASE_KEYS)
    variables, gradients, made = _arrays_of_case(document)
    rates = document["learning_rate_calls"]
    features = document["features"]
    case = Case(
        id=text("id", document["id"]),
        kind=text("kind", document["kind"]),
        config=named_parts("config", _setting("config", document["config"])),
        names=texts("names", document["names"]),
        variables=variables,
        gradients=gradients,
        made=made,
        state=None if document["state"] is None else _state_from_json(document["state"]),
        excluded_from_weight_decay=texts(
            "excluded_from_weight_decay", document["excluded_from_weight_decay"]
        ),
        loss_scaling=None
        if document["loss_scaling"] is None
        else _loss_scaling_from_json(document["loss_scaling"]),
        learning_rate_calls=None
        if rates is None
        else tuple(array_from_json(rates, "learning_rate_calls").tolist()),
        finalize=boolean("finalize", document["finalize"]),
        features=None if features is None else dict(named_parts("features", features)),
        learning_rate_units=integer_at_least("learning_rate_units", document["learning_rate_units"], 0),
        exposes=texts("exposes", document["exposes"]),
        notes=string("notes", document["notes"]),
        layouts=_layouts_from_json(document["layouts"]) if has_layouts else None,
    )
    return with_layouts(checked_layouts(case))


def _gradients_to_json(case: Case) -> list[Any]:
    return [
        [
            _gradient_to_json(f"gradients[{call}][{index}]", gradient)
            for index, gradient in enumerate(gradients)
        ]
        for call, gradients in enumerate(case.gradients)
    ]


def _made_to_json(case: Case, made: Made) -> Json:
    def written(numbers: Sequence[Any]) -> list[Json]:
        return [made_to_json(*pair) for pair in zip(numbers, case.variables, strict=True)]

    return {
        "variables": written(made.variables),
        "gradients": [written(numbers) for numbers in made.gradients],
    }


def _arrays_of_case(document: Json) -> tuple[Any, Any, Made | None]:
    """Return variables and gradients, with the numbers that they are made from if the first one is made."""
    variables = listed("variables", document["variables"])
    calls = [
        listed(f"gradients[{i}]", call) for i, call in enumerate(listed("gradients", document["gradients"]))
    ]
    if not variables or "made" not in named_parts("variables[0]", variables[0]):
        gradients = tuple(
            tuple(
                _gradient_from_json(f"gradients[{call}][{i}]", gradient) for i, gradient in enumerate(given)
            )
            for call, given in enumerate(calls)
        )
        return _arrays_from_json("variables", variables), gradients, None
    made = [made_from_json(part, f"variables[{i}]") for i, part in enumerate(variables)]
    of_calls = [
        [made_from_json(part, f"gradients[{call}][{i}]") for i, part in enumerate(given)]
        for call, given in enumerate(calls)
    ]
    numbers = Made(
        tuple(pair for pair, _ in made), tuple(tuple(pair for pair, _ in given) for given in of_calls)
    )
    arrays = tuple(tuple(array for _, array in given) for given in of_calls)
    return tuple(array for _, array in made), arrays, numbers


def trajectory_to_json(trajectory: Trajectory) -> list[Json]:
    """Return a trajectory as a list of objects of JSON.

    Raises
    ------
    TypeError
        If a part of a record has the wrong type.
    ValueError
        If a record has no variables, or keys that are not known.
    """
    return [_record_to_json(f"record {index}", record) for index, record in enumerate(trajectory)]


def trajectory_from_json(document: Any) -> list[Record]:
    """Return the trajectory that `trajectory_to_json` wrote, bit by bit the same.

    Single numbers come back as NumPy scalars of the dtype that they had, a Python float as float64.

    Raises
    ------
    TypeError
        If a part of `document` has the wrong type.
    ValueError
        If a record has no variables, or keys that are not known.
    """
    records = listed("trajectory", document)
    return [_record_from_json(f"record {index}", record) for index, record in enumerate(records)]


def _record_to_json(name: str, record: Record) -> Json:
    _check_record_keys(name, record)
    document: Json = {}
    for key, value in record.items():
        if key in RECORD_ARRAYS:
            document[key] = [
                digest_to_json(part)
                if isinstance(part, Digest)
                else array_to_json(part, f"{name}.{key}[{i}]")
                for i, part in enumerate(value)
            ]
        elif key in RECORD_NUMBERS:
            document[key] = _number_to_json(f"{name}.{key}", value)
        else:
            document[key] = integer_at_least(f"{name}.{key}", value, 0)
    return document


def _record_from_json(name: str, document: Any) -> Record:
    _check_record_keys(name, document)
    record: Record = {}
    for key, value in document.items():
        if key in RECORD_ARRAYS:
            record[key] = [
                digest_from_json(part, f"{name}.{key}[{i}]")
                if isinstance(part, dict) and "hash" in part
                else array_from_json(part, f"{name}.{key}[{i}]")
                for i, part in enumerate(listed(f"{name}.{key}", value))
            ]
        elif key in RECORD_NUMBERS:
            record[key] = _number_from_json(f"{name}.{key}", value)
        else:
            record[key] = integer_at_least(f"{name}.{key}", value, 0)
    return record


def _gradient_to_json(name: str, gradient: Array | SparseRows | None) -> Json | None:
    if gradient is None:
        return None
    if isinstance(gradient, SparseRows):
        return {
            "indices": gradient.indices.tolist(),
            "values": array_to_json(gradient.values, f"{name}.values"),
            "shape": list(gradient.shape),
        }
    return array_to_json(gradient, name)


def _gradient_from_json(name: str, document: Any) -> Array | SparseRows | None:
    if document is None:
        return None
    if "indices" not in named_parts(name, document):
        return array_from_json(document, name)
    check_keys(name, document, ("indices", "values", "shape"))
    indices = [integer_at_least(f"{name}.indices", index, 0) for index in listed(name, document["indices"])]
    shape = tuple(integer_at_least(f"{name}.shape", length, 0) for length in listed(name, document["shape"]))
    return SparseRows(indices, array_from_json(document["values"], f"{name}.values"), shape)


def _state_to_json(state: State) -> Json:
    document: Json = {"calls": state.calls}
    for key in STATE_ARRAYS:
        document[key] = _arrays_to_json(f"state.{key}", getattr(state, key))
    scale = state.loss_scale
    document["loss_scale"] = None if scale is None else _number_to_json("state.loss_scale", scale)
    document["growth_counter"] = state.growth_counter
    return document


def _state_from_json(document: Any) -> State:
    check_keys("state", document, State.__dataclass_fields__)
    scale, counter = document["loss_scale"], document["growth_counter"]
    return State(
        calls=integer_at_least("state.calls", document["calls"], 0),
        **{key: _arrays_from_json(f"state.{key}", document[key]) for key in STATE_ARRAYS},
        loss_scale=None if scale is None else _number_from_json("state.loss_scale", scale).item(),
        growth_counter=None if counter is None else integer_at_least("state.growth_counter", counter, 0),
    )


def _layouts_from_json(document: Any) -> Layouts:
    check_keys("layouts", document, Layouts.__dataclass_fields__)
    return Layouts(**{key: texts(f"layouts.{key}", document[key]) for key in document})


def _loss_scaling_to_json(loss_scaling: LossScaling) -> Json:
    return {
        "initial_scale": finite_real("initial_scale", loss_scaling.initial_scale),
        "dynamic_growth_steps": loss_scaling.dynamic_growth_steps,
    }


def _loss_scaling_from_json(document: Any) -> LossScaling:
    check_keys("loss_scaling", document, LossScaling.__dataclass_fields__)
    return LossScaling(
        initial_scale=finite_real("initial_scale", document["initial_scale"]),
        dynamic_growth_steps=integer_at_least("dynamic_growth_steps", document["dynamic_growth_steps"], 0),
    )


def _arrays_to_json(name: str, arrays: Sequence[Array]) -> list[Json]:
    return [array_to_json(array, f"{name}[{index}]") for index, array in enumerate(arrays)]


def _arrays_from_json(name: str, documents: Any) -> tuple[Array, ...]:
    documents = listed(name, documents)
    return tuple(array_from_json(document, f"{name}[{index}]") for index, document in enumerate(documents))


def _number_to_json(name: str, number: Any) -> Json:
    if np.ndim(number) != 0:
        reject_type(name, number, "a single number")
    return array_to_json(number, name)


def _number_from_json(name: str, document: Any) -> Any:
    number = array_from_json(document, name)
    if number.ndim != 0:
        reject_value(f"{name}.shape", number.shape, "()")
    return number[()]


def _setting(name: str, value: Any) -> Any:
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return finite_real(name, value)
    if isinstance(value, (list, tuple)):
        return [_setting(f"{name}[{index}]", element) for index, element in enumerate(value)]
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        reject_type(name, value, "None, True, False, a Python number, a string, or a list or dict of them")
    return {key: _setting(f"{name}[{key!r}]", element) for key, element in value.items()}


def _check_record_keys(name: str, record: Any) -> None:
    check_record_keys(name, named_parts(name, record))
