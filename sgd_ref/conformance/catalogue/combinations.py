"""The combinations of features that are cases of the standard tier.

They are published input data, and combinations are only added, never changed: a new axis gives its plainest
value to all of them.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sgd_ref.conformance.catalogue.axes import AXES, PLAINEST, Features, complete, every_pair, label

DATA = Path(__file__).with_name("combinations.json")

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
"""The axes of which a seed names every value; of any other axis, it names all values but the plainest."""


@dataclass(frozen=True)
class Combination:
    """A case of the catalogue.

    Attributes
    ----------
    features : dict of str to str
        A value of each axis.
    seed : str
        The text that the numbers of the case are drawn from. It never changes, even if the id does.
    exposes : tuple of str
        The known deviations that the case is for.
    """

    features: Features
    seed: str
    exposes: tuple[str, ...] = ()


def case_id(features: Features) -> str:
    """Return the id of the case of a combination: all values but the plainest, in the order of the axes.

    >>> case_id(complete({"update": "momentum", "accumulation": "2"}))
    'axes/momentum/accumulation-2'
    >>> case_id(PLAINEST)
    'axes/plain'
    """
    labels = [label(axis, features[axis]) for axis in PLAINEST if features[axis] != PLAINEST[axis]]
    return "/".join((PREFIX, *(labels or [ALL_PLAIN])))


def full_ids() -> Iterator[str]:
    """Yield the id of every combination of ``full_product``, in its order, without making the combinations.

    >>> ids = full_ids()
    >>> next(ids), next(ids)
    ('axes/plain', 'axes/decimal')
    """
    words = [("", *(f"/{label(axis, value)}" for value in values[1:])) for axis, values in AXES.items()]
    for chosen in itertools.product(*words):
        yield PREFIX + ("".join(chosen) or f"/{ALL_PLAIN}")


def seed(features: Features) -> str:
    """Return the text that the numbers of a combination are drawn from.

    A new axis adds nothing to the seed of a case that has the plainest value of the axis.

    >>> seed(PLAINEST)
    'float32/plain/none/none/none/none/none/constant/dense/ordinary/dyadic'
    """
    others = [axis for axis in PLAINEST if axis not in SEEDED_BY_VALUE and features[axis] != PLAINEST[axis]]
    return "/".join(
        (*(features[axis] for axis in SEEDED_BY_VALUE), *(label(axis, features[axis]) for axis in others))
    )


@cache
def kept_combinations() -> tuple[Combination, ...]:
    """Return the combinations, in the order in which they were added.

    >>> kept_combinations()[1].features["update"]
    'momentum'
    """
    return tuple(
        Combination(complete(combination["features"]), combination["seed"], tuple(combination["exposes"]))
        for combination in _content()["combinations"]
    )


@cache
def smoke_ids() -> tuple[str, ...]:
    """Return the ids of the cases of the smoke tier, including named cases."""
    return tuple(_content()["smoke"])


def missing_combinations(known: Iterable[Combination]) -> list[Combination]:
    """Return combinations to add so that every pair of values of two axes occurs; they expose nothing yet."""
    return [
        Combination(features, seed(features))
        for features in every_pair(combination.features for combination in known)
    ]


def to_text(all_combinations: Iterable[Combination], smoke: Iterable[str]) -> str:
    """Return the data file: one combination a line."""
    lines = ",\n  ".join(
        json.dumps(
            {
                "features": {
                    axis: value for axis, value in combination.features.items() if value != PLAINEST[axis]
                },
                "seed": combination.seed,
                "exposes": list(combination.exposes),
            }
        )
        for combination in all_combinations
    )
    ids = ",\n  ".join(json.dumps(case_id) for case_id in smoke)
    head = {"format": 1, "about": _content()["about"]}
    start = json.dumps(head, indent=1).removesuffix("\n}")
    return f'{start},\n "smoke": [\n  {ids}\n ],\n "combinations": [\n  {lines}\n ]\n}}\n'


@cache
def _content() -> Any:
    return json.loads(DATA.read_text(encoding="utf-8"))
