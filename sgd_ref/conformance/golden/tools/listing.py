"""The golden data as a table, and one entry of it to read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from rich.table import Table

from sgd_ref.conformance.catalogue.named.building import PLAIN_CONFIG
from sgd_ref.conformance.golden.content.bounds import RATE, Bound
from sgd_ref.conformance.golden.format.entries import Entry, decimals, entry_from_json
from sgd_ref.conformance.golden.format.location import Place, id_of
from sgd_ref.conformance.golden.format.schemas import TRAJECTORY
from sgd_ref.conformance.protocol.arrays import array_to_json
from sgd_ref.conformance.protocol.digest import Digest, digest_of, window_positions
from sgd_ref.conformance.protocol.encoding import Json
from sgd_ref.conformance.trajectories.comparison import LISTS


def table(places: Iterable[Place]) -> Table:
    """Return a table with one row for each entry."""
    shown = Table(title=None, box=None, header_style="bold")
    # An id that is cut off in a narrow terminal could not be typed.
    shown.add_column("id", overflow="fold", min_width=12)
    for column in ("tier", "kind", "dtypes", "calls", "bounds", "contested", "exposes"):
        shown.add_column(column, justify="right" if column in ("calls", "exposes") else "left")
    for place in places:
        shown.add_row(id_of(place.entry), place.tier, place.kind, *_columns(place))
    return shown


def _columns(place: Place) -> tuple[str, ...]:
    if place.kind != TRAJECTORY:
        return (str(place.entry.get("dtype", "")), "", "", "", "")
    case = place.entry["case"]
    dtypes = dict.fromkeys(array["dtype"] for array in case["variables"])
    return (
        " ".join(dtypes),
        str(len(case["gradients"])),
        "exact" if place.entry["bounds"] is None else "bounds",
        "contested" if place.entry["contested"] else "",
        str(len(case["exposes"])),
    )


def description(place: Place) -> Iterator[str]:
    """Yield the lines that describe an entry to a reader."""
    yield f"{id_of(place.entry)}  ({place.kind}, {place.tier}, {place.path})"
    if place.kind == TRAJECTORY:
        yield from _trajectory(entry_from_json(place.entry))
    else:
        yield json.dumps(place.entry, indent=2, ensure_ascii=False)


LARGEST = 2000
"""Elements of an array that is printed whole."""


def _trajectory(entry: Entry) -> Iterator[str]:
    case = entry.case
    yield case.notes
    for key, value in entry.provenance.items():
        yield f"{key}: {value}"
    if entry.contested:
        yield f"contested: {', '.join(entry.contested)}"
    yield f"exposes: {', '.join(case.exposes) or 'nothing that is known'}"
    for key, value in case.config.items():
        if key not in PLAIN_CONFIG or value != PLAIN_CONFIG[key] or key == "learning_rate":
            yield f"{key} = {value}"
    for key in ("excluded_from_weight_decay", "loss_scaling", "learning_rate_calls"):
        if getattr(case, key):
            yield f"{key} = {getattr(case, key)}"
    yield ""
    yield "before the first call"
    for name, variable in zip(case.names, case.variables, strict=True):
        yield from _array("variables", name, variable, None)
    if case.state is not None:
        yield f"  calls = {case.state.calls}"
        for quantity in LISTS[1:]:
            for name, array in zip(case.names, getattr(case.state, quantity), strict=False):
                yield from _array(quantity, name, array, None)
    for call, record in enumerate(entry.expected):
        yield ""
        yield from _call(entry, call, record)


def _call(entry: Entry, call: int, record: dict[str, Any]) -> Iterator[str]:
    case = entry.case
    yield f"call {call}" if call < len(case.gradients) else "after finalisation"
    gradients = case.gradients[call] if call < len(case.gradients) else ()
    for name, gradient in zip(case.names, gradients, strict=False):
        if gradient is None:
            yield f"  gradient of {name}: missing"
        elif isinstance(gradient, np.ndarray):
            yield from _array("gradient", name, gradient, None)
        else:
            yield from _array(f"gradient, rows {gradient.indices.tolist()}", name, gradient.values, None)
    if not record:
        yield "  the record is not stored"
    bounds = {} if entry.bounds is None else entry.bounds[call]
    for key, value in record.items():
        if key in LISTS:
            allowed = bounds.get(key) or [None] * len(value)
            for name, array, bound in zip(case.names, value, allowed, strict=False):
                yield from _array(key, name, array, bound)
        elif isinstance(value, int):
            yield f"  {key} = {value}"
        else:
            yield from _array(key, "", np.asarray(value), bounds.get(RATE) if key == RATE else None)


def _array(quantity: str, name: str, array: Any, bound: Bound | None) -> Iterator[str]:
    label = f"  {quantity} of {name}" if name else f"  {quantity}"
    if isinstance(array, Digest) or array.size > LARGEST:
        digest = array if isinstance(array, Digest) else digest_of(array)
        yield f"{label}: of {digest.size} elements those at {window_positions(digest.size)}"
        yield f"    {decimals(digest.window)}"
        yield f"    bits   {_bits(digest.window)}"
        yield f"    hash   {digest.hash}"
        return
    yield f"{label}: {decimals(array)}"
    yield f"    bits   {_bits(array)}"
    if bound is not None:
        yield f"    lower  {_bits(bound.lower)}"
        yield f"    upper  {_bits(bound.upper)}"
        if bound.nan.any():
            yield f"    NaN is allowed at {np.flatnonzero(bound.nan).tolist()}"


def _bits(array: Any) -> str:
    document: Json = array_to_json(array)
    return str(document["bits"])
