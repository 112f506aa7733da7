"""The rows of the catalogue: which combinations of features are cases of the standard tier.

Rows are published input data and are only ever appended: a new axis gives its plainest value to all of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sgd_ref.conformance.catalogue.axes import PLAINEST, Features, complete, every_pair, label

DATA = Path(__file__).with_name("rows.json")

PREFIX = "axes"
ALL_PLAIN = "plain"

SEEDED_BY_VALUE = (
    "dtype",
    "update",
    "weight_decay",
    "clipping",
    "averages",
    "accumulation",
    "loss_scaling",
    "learning_rate",
    "gradients",
    "values",
    "settings",
)
"""The axes of which a seed names every value; of another axis it names those that are not the plainest."""


@dataclass(frozen=True)
class Row:
    """A case of the catalogue.

    Attributes
    ----------
    features : dict of str to str
        A value of each axis.
    seed : str
        The text that the numbers of the case are drawn from. It never changes, whatever the id becomes.
    exposes : tuple of str
        The known deviations that the case is for.
    """

    features: Features
    seed: str
    exposes: tuple[str, ...] = ()


def case_id(features: Features) -> str:
    """Return the id of the case of a combination: its values but the plainest, in the order of the axes.

    >>> case_id(complete({"update": "momentum", "accumulation": "2"}))
    'axes/momentum/accumulation-2'
    >>> case_id(PLAINEST)
    'axes/plain'
    """
    labels = [label(axis, features[axis]) for axis in PLAINEST if features[axis] != PLAINEST[axis]]
    return "/".join((PREFIX, *(labels or [ALL_PLAIN])))


def seed(features: Features) -> str:
    """Return the text that the numbers of a combination are drawn from.

    A new axis adds nothing to the seed of a case in which it is plain.

    >>> seed(PLAINEST)
    'float32/plain/none/none/none/none/none/constant/dense/ordinary/dyadic'
    """
    others = [axis for axis in PLAINEST if axis not in SEEDED_BY_VALUE and features[axis] != PLAINEST[axis]]
    return "/".join(
        (*(features[axis] for axis in SEEDED_BY_VALUE), *(label(axis, features[axis]) for axis in others))
    )


@cache
def rows() -> tuple[Row, ...]:
    """Return the rows, in the order in which they were added.

    >>> rows()[1].features["update"]
    'momentum'
    """
    return tuple(
        Row(complete(row["features"]), row["seed"], tuple(row["exposes"])) for row in _content()["rows"]
    )


@cache
def smoke_ids() -> tuple[str, ...]:
    """Return the ids of the cases of the smoke tier, named ones among them."""
    return tuple(_content()["smoke"])


def missing_rows(known: Iterable[Row]) -> list[Row]:
    """Return rows to append so that every pair of values of any two axes occurs; they promise nothing yet."""
    return [Row(features, seed(features)) for features in every_pair(row.features for row in known)]


def to_text(all_rows: Iterable[Row], smoke: Iterable[str]) -> str:
    """Return the data file: one row a line."""
    lines = ",\n  ".join(
        json.dumps(
            {
                "features": {axis: value for axis, value in row.features.items() if value != PLAINEST[axis]},
                "seed": row.seed,
                "exposes": list(row.exposes),
            }
        )
        for row in all_rows
    )
    ids = ",\n  ".join(json.dumps(case_id) for case_id in smoke)
    head = {"format": 1, "about": _content()["about"]}
    start = json.dumps(head, indent=1).removesuffix("\n}")
    return f'{start},\n "smoke": [\n  {ids}\n ],\n "rows": [\n  {lines}\n ]\n}}\n'


def _content() -> Any:
    return json.loads(DATA.read_text(encoding="utf-8"))
