"""The JSON Schema of each kind of file: strict, and complete in a single file.

Source: JSON Schema, draft 2020-12, https://json-schema.org/draft/2020-12
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from sgd_ref.arithmetic.formats import FORMATS
from sgd_ref.conformance.catalogue.layouts import LAYOUTS
from sgd_ref.conformance.catalogue.made import MODULUS
from sgd_ref.conformance.golden.format.document import FORMAT, GENERATOR, RECORDER
from sgd_ref.conformance.protocol.encoding import Json
from sgd_ref.conformance.trajectories.comparison import LISTS
from sgd_ref.definition import DEFINITION_VERSION

DIALECT = "https://json-schema.org/draft/2020-12/schema"

TRAJECTORY, STAGE, SCHEDULE, REJECTION, DEVIATION = (
    "trajectory",
    "stage",
    "schedule",
    "rejection",
    "deviation",
)
INDEX = "index"
SCHEMA = "schema"
RECORDING = "recording"
"""The name of the schema of recorded answers, whose files have the kind "trajectory"."""

FIRST, SMOKE, STANDARD, FULL = "first", "smoke", "standard", "full"
"""The tiers, of the same cases as on the command line; those of the smoke tier are standard cases, too."""

PARTS, RECORDED = "parts", "recorded"
"""The tiers of entries that the command never sends: parts, such as stages, and recorded answers."""

TEXT: Json = {"type": "string"}
NAME: Json = {"type": "string", "minLength": 1}
COUNT: Json = {"type": "integer", "minimum": 0}
FLAG: Json = {"type": "boolean"}
NUMBER: Json = {"type": "number"}
SHA256: Json = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
VERSION: Json = {"type": "string", "pattern": "^[0-9]+\\.[0-9]+\\.[0-9]+$"}


def schemas() -> dict[str, Json]:
    """Return the schema of each kind of file.

    >>> sorted(schemas())
    ['deviation', 'index', 'recording', 'rejection', 'schedule', 'stage', 'trajectory']
    """
    abridged = _file(TRAJECTORY, _trajectory_entry(LISTS[1:]), (FIRST, SMOKE, STANDARD, PARTS))
    return {
        TRAJECTORY: {**abridged, **_whole_but_in((SMOKE, STANDARD))},
        # An implementation that is recorded need not report all that the reference does.
        RECORDING: _file(
            TRAJECTORY, _trajectory_entry((*LISTS[1:], "iterations", "calls"), {"rule": NAME}), (RECORDED,)
        ),
        STAGE: _file(STAGE, _stage_entry()),
        SCHEDULE: _file(SCHEDULE, _schedule_entry()),
        REJECTION: _file(REJECTION, _rejection_entry()),
        DEVIATION: _file(DEVIATION, _deviation_entry()),
        INDEX: _index(),
    }


def schema_files() -> Iterator[tuple[str, Json]]:
    """Yield path and content of the files of the schemas."""
    for kind, schema in schemas().items():
        yield f"schema/{kind}.schema.json", schema


def _object(properties: dict[str, Json], optional: tuple[str, ...] = ()) -> Json:
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def _list(items: Json, **limits: int) -> Json:
    return {"type": "array", "items": items, **limits}


def _all_of_one_kind(kind: str, other: str, least: int = 1) -> Json:
    """Return the schema of a list whose elements are all of one definition, or all of another one."""
    return {"anyOf": [_list(_defined(name), minItems=least) for name in (kind, other)]}


def _or_null(schema: Json) -> Json:
    return {"anyOf": [{"type": "null"}, schema]}


def _or_left_out(record: Json) -> Json:
    """Return the schema of a record that may be without any key."""
    return {"anyOf": [{"type": "object", "maxProperties": 0}, record]}


def _whole_but_in(tiers: tuple[str, ...]) -> Json:
    """Return what asks for all records and all of their lists outside of some tiers."""
    record: Json = {"items": {"required": list(LISTS)}}
    bounds: Json = {"items": {"minProperties": 1}}
    entry: Json = {"properties": {"expected": record, "bounds": bounds}}
    return {
        "if": {"properties": {"tier": {"enum": list(tiers)}}},
        "else": {"properties": {"entries": {"items": entry}}},
    }


def _defined(name: str) -> Json:
    return {"$ref": f"#/$defs/{name}"}


def _bits(digits: int) -> Json:
    return {"type": "string", "pattern": f"^([0-9a-f]{{{digits}}}( [0-9a-f]{{{digits}}})*)?$"}


def _array() -> Json:
    """Return the schema of an array: as many digits an element as its dtype has."""
    return {
        **_object(
            {
                "dtype": {"enum": [dtype.name for dtype in FORMATS]},
                "shape": _list(COUNT),
                "bits": TEXT,
                "decimal": TEXT,
            },
            optional=("decimal",),
        ),
        "allOf": [
            {
                "if": {"properties": {"dtype": {"const": dtype.name}}},
                "then": {"properties": {"bits": _bits(2 * dtype.itemsize)}},
            }
            for dtype in FORMATS
        ],
    }


def _big() -> dict[str, Json]:
    """Return the schemas of an array of a big case, and of the digest that stands for one in a record."""
    form: dict[str, Json] = {"dtype": {"enum": [dtype.name for dtype in FORMATS]}, "shape": _list(COUNT)}
    below: Json = {"type": "integer", "minimum": 0, "exclusiveMaximum": MODULUS}
    window = [
        {
            "if": {"properties": {"dtype": {"const": dtype.name}}},
            "then": {"properties": {"window": _bits(2 * dtype.itemsize)}},
        }
        for dtype in FORMATS
    ]
    return {
        "made": _object({**form, "made": _list(below, minItems=2, maxItems=2)}),
        "digest": {**_object({**form, "hash": below, "window": TEXT}), "allOf": window},
    }


def _gradient(index: Json) -> Json:
    sparse = _object({"indices": _list(index), "values": _defined("array"), "shape": _list(COUNT)})
    return {"oneOf": [{"type": "null"}, _defined("array"), sparse]}


def _definitions() -> dict[str, Json]:
    return {
        "array": _array(),
        "gradient": _gradient(COUNT),
        **_big(),
        "provenance": _object(
            {
                "definition_version": {"const": DEFINITION_VERSION},
                "generator": {"enum": [GENERATOR, RECORDER]},
                "source": NAME,
                "seed": NAME,
            },
            optional=("seed",),
        ),
        "schedule": _object({"class_name": NAME, "config": {"type": "object"}}),
    }


def _file(kind: str, entry: Json, tiers: tuple[str, ...] = (PARTS,)) -> Json:
    return {
        "$schema": DIALECT,
        "title": f"Golden data of sgd-ref: {kind}",
        **_object(
            {
                "format": {"const": FORMAT},
                "kind": {"const": kind},
                "tier": {"enum": list(tiers)},
                "entries": _list(entry, minItems=1),
            }
        ),
        "$defs": _definitions(),
    }


def _config() -> Json:
    unit: Json = {"type": "number", "minimum": 0, "maximum": 1}
    limit: Json = {"type": ["number", "null"], "exclusiveMinimum": 0}
    return _object(
        {
            "learning_rate": {"anyOf": [{"type": ["number", "null"]}, _defined("schedule")]},
            "momentum": unit,
            "nesterov": FLAG,
            "weight_decay": {"type": ["number", "null"]},
            "clipnorm": limit,
            "clipvalue": limit,
            "global_clipnorm": limit,
            "use_ema": FLAG,
            "ema_momentum": unit,
            "ema_overwrite_frequency": {"type": ["integer", "null"], "minimum": 1},
            "name": NAME,
            "loss_scale_factor": limit,
            "gradient_accumulation_steps": {"type": ["integer", "null"], "minimum": 2},
        }
    )


def _trajectory_entry(
    unreported: tuple[str, ...], optional: Mapping[str, Json] = MappingProxyType({})
) -> Json:
    arrays = _list(_defined("array"))
    state = _object(
        {
            "calls": COUNT,
            "velocities": arrays,
            "averages": arrays,
            "accumulators": arrays,
            "loss_scale": _or_null(_defined("array")),
            "growth_counter": _or_null(COUNT),
        }
    )
    loss_scaling = _object(
        {
            "initial_scale": {"type": "number", "exclusiveMinimum": 0},
            "dynamic_growth_steps": {"type": "integer", "minimum": 1},
        }
    )
    case = _object(
        {
            "id": NAME,
            "kind": {"const": TRAJECTORY},
            "config": _config(),
            "names": _list(NAME, minItems=1),
            "variables": _all_of_one_kind("array", "made"),
            "gradients": _list(_all_of_one_kind("gradient", "made"), minItems=1),
            "state": _or_null(state),
            "excluded_from_weight_decay": _list(NAME),
            "loss_scaling": _or_null(loss_scaling),
            "learning_rate_calls": _or_null(_defined("array")),
            "finalize": FLAG,
            "features": _or_null({"type": "object", "additionalProperties": NAME}),
            "learning_rate_units": COUNT,
            "exposes": _list(NAME),
            "notes": TEXT,
            "layouts": _object({part: _list({"enum": list(LAYOUTS)}) for part in ("variables", "gradients")}),
        },
        optional=("layouts",),
    )
    record = _object(
        {
            **dict.fromkeys(LISTS, _all_of_one_kind("array", "digest", least=0)),
            "iterations": COUNT,
            "calls": COUNT,
            "growth_counter": COUNT,
            "loss_scale": _defined("array"),
            "learning_rate": _defined("array"),
        },
        optional=(*unreported, "growth_counter", "loss_scale", "learning_rate"),
    )
    any_bits: Json = {"type": "string", "pattern": "^([0-9a-f]{1,16}( [0-9a-f]{1,16})*)?$"}
    bound = _or_null(_object({"lower": any_bits, "upper": any_bits, "nan": _list(COUNT)}))
    bounds = _object({**dict.fromkeys(LISTS, _list(bound)), "learning_rate": bound})
    return _entry(
        {
            "case": case,
            "expected": _list(_or_left_out(record), minItems=1),
            "bounds": _or_null(_list(_or_left_out(bounds), minItems=1)),
            "contested": _list(NAME),
        },
        optional,
    )


def _stage_entry() -> Json:
    value = {"anyOf": [_defined("array"), _list(_defined("array"))]}
    return _entry(
        {
            "id": NAME,
            "stage": NAME,
            "dtype": {"enum": [dtype.name for dtype in FORMATS]},
            "arguments": {"type": "object", "additionalProperties": value, "minProperties": 1},
            "expected": _defined("array"),
        }
    )


def _schedule_entry() -> Json:
    return _entry(
        {
            "id": NAME,
            "schedule": _defined("schedule"),
            "steps": _list(COUNT, minItems=1),
            "expected": _defined("array"),
            "notes": NAME,
        }
    )


def _rejection_entry() -> Json:
    return _entry(
        {
            "id": NAME,
            "config": {"type": "object"},
            "loss_scaling": {"type": ["object", "null"]},
            "names": _list(NAME, minItems=1),
            "variables": _list(_defined("array"), minItems=1),
            "call": _or_null(_object({"gradients": _list(_gradient(NUMBER))})),  # also indices that are none
            "when": {"enum": ["construct", "build", "call"]},
            "category": {"enum": ["type", "value"]},
            "argument": NAME,
            "reason": NAME,
        }
    )


def _deviation_entry() -> Json:
    return _entry(
        {
            "id": NAME,
            "kind": {"enum": ["contradiction", "rounding"]},
            "summary": NAME,
            "address": {"type": "string", "pattern": "^(https://.+)?$"},
        }
    )


def _entry(properties: dict[str, Any], optional: Mapping[str, Json] = MappingProxyType({})) -> Json:
    fixed = {**properties, "provenance": _defined("provenance"), "sha256": SHA256}
    return _object({**fixed, **optional}, tuple(optional))


def _index() -> Json:
    counts = _object({"files": COUNT, "cases": COUNT, "bytes": COUNT})
    file = _object(
        {
            "path": {"type": "string", "pattern": "^[^/\\\\].*\\.json$"},
            "tier": {"enum": [FIRST, SMOKE, STANDARD, PARTS]},
            "kind": {"enum": [TRAJECTORY, STAGE, SCHEDULE, REJECTION, DEVIATION, SCHEMA]},
            "cases": COUNT,
            "bytes": COUNT,
            "sha256": SHA256,
        }
    )
    return {
        "$schema": DIALECT,
        "title": "Golden data of sgd-ref: index",
        **_object(
            {
                "format": {"const": FORMAT},
                "data_version": VERSION,
                "definition_version": VERSION,
                "generator": {"const": GENERATOR},
                "tiers": _object(dict.fromkeys((FIRST, SMOKE, STANDARD, FULL, PARTS), counts)),
                "files": _list(file, minItems=1),
            }
        ),
    }
