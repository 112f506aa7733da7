"""Cases and trajectories as JSON, one line each, every number of an array as the bits that it has.

An array is ``{"dtype": "float32", "shape": [2, 1], "bits": "3f800000 80000000"}``: its elements in
row-major order, each the IEEE 754 bit pattern as one hexadecimal number of full width, most significant
digit first, one space between two of them. In C, ``strtoull(position, &position, 16)`` reads one after
the other. A single number, such as a learning rate, is an array of shape ``[]``. Sparse rows are
``{"indices": [2, 0], "values": <array>, "shape": [4, 2]}``, a gradient that is missing is ``null``.

A case whose arrays have memory layouts has one more key, ``layouts``: ``{"variables": [...], "gradients":
[...]}``, a name for each variable. The elements stand in row-major order all the same.

Settings are JSON numbers with as many digits as it takes to give the same float64 again, and finite.
Every key is always there, ``null`` or empty where it has no meaning; in a record of a trajectory only
``variables`` has to be there. Nothing else is accepted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import BY_NAME, Array, is_supported
from sgd_ref.conformance.catalogue.case import Case, Layouts, LossScaling, Record, State, Trajectory
from sgd_ref.conformance.catalogue.layouts import checked_layouts, with_layouts
from sgd_ref.conformance.protocol.json_lines import Json, from_line, to_line
from sgd_ref.gradients import SparseRows
from sgd_ref.validation import boolean, finite_real, integer_at_least, reject_type, reject_value, text

__all__ = [
    "Json",
    "array_from_json",
    "array_to_json",
    "case_from_json",
    "case_to_json",
    "from_line",
    "to_line",
    "trajectory_from_json",
    "trajectory_to_json",
]

STATE_ARRAYS = ("velocities", "averages", "accumulators")
RECORD_ARRAYS = ("variables", *STATE_ARRAYS)
RECORD_INTEGERS = ("iterations", "calls", "growth_counter")
RECORD_NUMBERS = ("loss_scale", "learning_rate")
CASE_KEYS = tuple(key for key in Case.__dataclass_fields__ if key != "layouts")
"""The keys that every case has."""

RECORD_KEYS = (*RECORD_ARRAYS, *RECORD_INTEGERS, *RECORD_NUMBERS)


def array_to_json(array: Any, name: str = "array") -> Json:
    """Return an array, or a single number, of one of the four dtypes as its bits.

    Raises
    ------
    TypeError
        If its dtype is not in ``FORMATS``.

    Examples
    --------
    >>> array_to_json(np.array([[1.0], [-0.0]], "float32"))
    {'dtype': 'float32', 'shape': [2, 1], 'bits': '3f800000 80000000'}
    """
    array = np.asarray(array)
    if not is_supported(array.dtype):
        reject_type(name, array.dtype, f"an array of {', '.join(BY_NAME)}")
    size = array.dtype.itemsize
    patterns = array.ravel().view(f"u{size}").astype(f">u{size}")
    return {
        "dtype": array.dtype.name,
        "shape": list(array.shape),
        "bits": patterns.tobytes().hex(" ", size),
    }


def array_from_json(document: Any, name: str = "array") -> Array:
    """Return the array whose bits `document` has, writable.

    Raises
    ------
    TypeError
        If a part of `document` has the wrong type.
    ValueError
        If keys are missing or unknown, or the bits do not fit the dtype and the shape.

    Examples
    --------
    >>> array_from_json({"dtype": "bfloat16", "shape": [2], "bits": "3f80 0001"})
    array([1, 9.18355e-41], dtype=bfloat16)
    """
    _check_keys(name, document, ("dtype", "shape", "bits"))
    dtype = BY_NAME.get(text(f"{name}.dtype", document["dtype"]))
    if dtype is None:
        reject_value(f"{name}.dtype", document["dtype"], f"one of {', '.join(BY_NAME)}")
    lengths = _list(f"{name}.shape", document["shape"])
    shape = tuple(integer_at_least(f"{name}.shape", length, 0) for length in lengths)
    bits = document["bits"]
    if not isinstance(bits, str):
        reject_type(f"{name}.bits", bits, "a string")
    size = dtype.itemsize
    patterns = bits.split()
    accepted = f"{math.prod(shape)} hexadecimal numbers of {2 * size} digits each"
    if len(patterns) != math.prod(shape) or any(len(pattern) != 2 * size for pattern in patterns):
        reject_value(f"{name}.bits", bits, accepted)
    try:
        packed = bytes.fromhex("".join(patterns))
    except ValueError:
        reject_value(f"{name}.bits", bits, accepted)
    array = np.frombuffer(packed, f">u{size}").astype(f"u{size}").view(dtype)
    try:
        return array.reshape(shape)
    # Beside a length of 0, other lengths may be anything.
    except ValueError:
        reject_value(f"{name}.shape", shape, "a shape that an array can have")


def case_to_json(case: Case) -> Json:
    """Return a case as an object of JSON.

    Raises
    ------
    TypeError
        If a setting is not what JSON can hold, or an array has none of the four dtypes.
    ValueError
        If a setting is not finite.
    """
    document: Json = {
        "id": case.id,
        "kind": case.kind,
        "config": _setting("config", case.config),
        "names": list(case.names),
        "variables": _arrays_to_json("variables", case.variables),
        "gradients": [
            [
                _gradient_to_json(f"gradients[{call}][{index}]", gradient)
                for index, gradient in enumerate(gradients)
            ]
            for call, gradients in enumerate(case.gradients)
        ],
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
    has_layouts = "layouts" in _object("case", document)
    _check_keys("case", document, Case.__dataclass_fields__ if has_layouts else CASE_KEYS)
    rates = document["learning_rate_calls"]
    features = document["features"]
    case = Case(
        id=text("id", document["id"]),
        kind=text("kind", document["kind"]),
        config=_object("config", _setting("config", document["config"])),
        names=_texts("names", document["names"]),
        variables=_arrays_from_json("variables", document["variables"]),
        gradients=tuple(
            tuple(
                _gradient_from_json(f"gradients[{call}][{index}]", gradient)
                for index, gradient in enumerate(_list(f"gradients[{call}]", gradients))
            )
            for call, gradients in enumerate(_list("gradients", document["gradients"]))
        ),
        state=None if document["state"] is None else _state_from_json(document["state"]),
        excluded_from_weight_decay=_texts(
            "excluded_from_weight_decay", document["excluded_from_weight_decay"]
        ),
        loss_scaling=None
        if document["loss_scaling"] is None
        else _loss_scaling_from_json(document["loss_scaling"]),
        learning_rate_calls=None
        if rates is None
        else tuple(array_from_json(rates, "learning_rate_calls").tolist()),
        finalize=boolean("finalize", document["finalize"]),
        features=None if features is None else dict(_object("features", features)),
        learning_rate_units=integer_at_least("learning_rate_units", document["learning_rate_units"], 0),
        exposes=_texts("exposes", document["exposes"]),
        notes=_string("notes", document["notes"]),
        layouts=_layouts_from_json(document["layouts"]) if has_layouts else None,
    )
    return with_layouts(checked_layouts(case))


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
    records = _list("trajectory", document)
    return [_record_from_json(f"record {index}", record) for index, record in enumerate(records)]


def _record_to_json(name: str, record: Record) -> Json:
    _check_record_keys(name, record)
    document: Json = {}
    for key, value in record.items():
        if key in RECORD_ARRAYS:
            document[key] = _arrays_to_json(f"{name}.{key}", value)
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
            record[key] = list(_arrays_from_json(f"{name}.{key}", value))
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
    if "indices" not in _object(name, document):
        return array_from_json(document, name)
    _check_keys(name, document, ("indices", "values", "shape"))
    indices = [integer_at_least(f"{name}.indices", index, 0) for index in _list(name, document["indices"])]
    shape = tuple(integer_at_least(f"{name}.shape", length, 0) for length in _list(name, document["shape"]))
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
    _check_keys("state", document, State.__dataclass_fields__)
    scale, counter = document["loss_scale"], document["growth_counter"]
    return State(
        calls=integer_at_least("state.calls", document["calls"], 0),
        **{key: _arrays_from_json(f"state.{key}", document[key]) for key in STATE_ARRAYS},
        loss_scale=None if scale is None else _number_from_json("state.loss_scale", scale).item(),
        growth_counter=None if counter is None else integer_at_least("state.growth_counter", counter, 0),
    )


def _layouts_from_json(document: Any) -> Layouts:
    _check_keys("layouts", document, Layouts.__dataclass_fields__)
    return Layouts(**{key: _texts(f"layouts.{key}", document[key]) for key in document})


def _loss_scaling_to_json(loss_scaling: LossScaling) -> Json:
    return {
        "initial_scale": finite_real("initial_scale", loss_scaling.initial_scale),
        "dynamic_growth_steps": loss_scaling.dynamic_growth_steps,
    }


def _loss_scaling_from_json(document: Any) -> LossScaling:
    _check_keys("loss_scaling", document, LossScaling.__dataclass_fields__)
    return LossScaling(
        initial_scale=finite_real("initial_scale", document["initial_scale"]),
        dynamic_growth_steps=integer_at_least("dynamic_growth_steps", document["dynamic_growth_steps"], 0),
    )


def _arrays_to_json(name: str, arrays: Sequence[Array]) -> list[Json]:
    return [array_to_json(array, f"{name}[{index}]") for index, array in enumerate(arrays)]


def _arrays_from_json(name: str, documents: Any) -> tuple[Array, ...]:
    documents = _list(name, documents)
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
    missing = {"variables"} - set(_object(name, record))
    if missing or not set(record) <= set(RECORD_KEYS):
        reject_value(
            f"the keys of {name}", sorted(record), f"variables, and maybe of {list(RECORD_KEYS[1:])}"
        )


def _check_keys(name: str, document: Any, keys: Any) -> None:
    if set(_object(name, document)) != set(keys):
        reject_value(f"the keys of {name}", sorted(document), f"{sorted(keys)}")


def _object(name: str, document: Any) -> Json:
    if not isinstance(document, dict):
        reject_type(name, document, "an object with named parts")
    return document


def _list(name: str, document: Any) -> list[Any]:
    if not isinstance(document, list):
        reject_type(name, document, "a list")
    return document


def _string(name: str, document: Any) -> str:
    if not isinstance(document, str):
        reject_type(name, document, "a string")
    return document


def _texts(name: str, document: Any) -> tuple[str, ...]:
    return tuple(_string(f"{name}[{index}]", element) for index, element in enumerate(_list(name, document)))
