"""The feature axes: what can vary between cases, and the settings that each value stands for."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

AXES: dict[str, tuple[str, ...]] = {
    "dtype": ("float32", "float16", "bfloat16", "float64", "mixed"),
    "update": ("plain", "momentum", "nesterov"),
    "weight_decay": ("none", "decay", "exclusion"),
    "clipping": ("none", "clipnorm", "clipvalue", "global_clipnorm"),
    "averages": ("none", "averages", "overwrite"),
    "accumulation": ("none", "2", "3"),
    "loss_scaling": ("none", "fixed", "fixed-96", "dynamic"),
    "learning_rate": (
        "constant",
        "piecewise",
        "callable",
        "exponential",
        "inverse_time",
        "polynomial",
        "cosine",
        "restarts",
    ),
    "gradients": ("dense", "missing", "sparse"),
    "values": ("ordinary", "special", "subnormal"),
    "settings": ("dyadic", "decimal"),
}
"""Names of the axes with their values, the plainest first."""

Features = Mapping[str, str]
"""A value of each axis."""

Pair = tuple[tuple[str, str], tuple[str, str]]
"""Two axes, in their order, each with a value."""

PLAINEST: dict[str, str] = {axis: values[0] for axis, values in AXES.items()}


def complete(features: Features) -> dict[str, str]:
    """Return features with the plainest value of each axis that they leave out, in the order of the axes.

    Raises
    ------
    ValueError
        If an axis or a value is unknown.

    Examples
    --------
    >>> complete({"update": "nesterov"})["clipping"]
    'none'
    """
    for axis, value in features.items():
        if value not in AXES.get(axis, ()):
            known = AXES.get(axis, tuple(AXES))
            raise ValueError(f"features[{axis!r}] must be one of {known}, got {value!r}")
    return {axis: features.get(axis, plainest) for axis, plainest in PLAINEST.items()}


def label(axis: str, value: str) -> str:
    """Return the word for a value in an id; a number is preceded by the name of its axis.

    >>> label("update", "nesterov"), label("accumulation", "3")
    ('nesterov', 'accumulation-3')
    """
    return f"{axis}-{value}" if value.isdigit() else value


def from_labels(labels: Sequence[str]) -> dict[str, str] | None:
    """Return the features that labels stand for, in any order; None if a label is unknown.

    >>> (from_labels(["accumulation-3", "nesterov"]) or {})["update"]
    'nesterov'
    """
    known = {label(axis, value): (axis, value) for axis, values in AXES.items() for value in values[1:]}
    chosen = [known[text] for text in labels if text in known]
    features = dict(chosen)
    return complete(features) if len(features) == len(labels) else None


class Settings(NamedTuple):
    """Numbers for the settings of a case: exact in every dtype, or decimal fractions, which are not exact."""

    learning_rate: float
    momentum: float
    weight_decay: float
    clipnorm: float
    clipvalue: float
    global_clipnorm: float
    ema_momentum: float


SETTINGS = {
    "dyadic": Settings(0.15625, 0.875, 0.0625, 1.5, 0.625, 3.0, 0.75),
    "decimal": Settings(0.1, 0.9, 0.05, 1.7, 0.6, 3.1, 0.95),
}

# Boundaries and periods are chosen so that values change between the updates of every accumulation.
SCHEDULES: dict[str, dict[str, dict[str, Any]]] = {
    "dyadic": {
        "piecewise": {
            "class_name": "PiecewiseConstantDecay",
            "config": {"boundaries": [2, 6], "values": [0.25, 0.03125, 0.40625]},
        },
        "exponential": {
            "class_name": "ExponentialDecay",
            "config": {"initial_learning_rate": 0.25, "decay_steps": 4, "decay_rate": 0.5},
        },
        "inverse_time": {
            "class_name": "InverseTimeDecay",
            "config": {"initial_learning_rate": 0.25, "decay_steps": 2, "decay_rate": 0.75},
        },
        "polynomial": {
            "class_name": "PolynomialDecay",
            "config": {
                "initial_learning_rate": 0.25,
                "decay_steps": 8,
                "end_learning_rate": 0.0625,
                "power": 2.0,
            },
        },
        "cosine": {
            "class_name": "CosineDecay",
            "config": {
                "initial_learning_rate": 0.0625,
                "decay_steps": 16,
                "alpha": 0.25,
                "warmup_target": 0.375,
                "warmup_steps": 3,
            },
        },
        "restarts": {
            "class_name": "CosineDecayRestarts",
            "config": {
                "initial_learning_rate": 0.375,
                "first_decay_steps": 3,
                "t_mul": 2.0,
                "m_mul": 1.0,
                "alpha": 0.125,
            },
        },
    },
    "decimal": {
        "piecewise": {
            "class_name": "PiecewiseConstantDecay",
            "config": {"boundaries": [2, 6], "values": [0.2, 0.03, 0.4]},
        },
        "exponential": {
            "class_name": "ExponentialDecay",
            "config": {"initial_learning_rate": 0.2, "decay_steps": 3, "decay_rate": 0.7},
        },
        "inverse_time": {
            "class_name": "InverseTimeDecay",
            "config": {"initial_learning_rate": 0.2, "decay_steps": 3, "decay_rate": 0.6},
        },
        "polynomial": {
            "class_name": "PolynomialDecay",
            "config": {
                "initial_learning_rate": 0.2,
                "decay_steps": 9,
                "end_learning_rate": 0.05,
                "power": 1.5,
            },
        },
        "cosine": {
            "class_name": "CosineDecay",
            "config": {
                "initial_learning_rate": 0.05,
                "decay_steps": 17,
                "alpha": 0.2,
                "warmup_target": 0.3,
                "warmup_steps": 3,
            },
        },
        "restarts": {
            "class_name": "CosineDecayRestarts",
            "config": {
                "initial_learning_rate": 0.3,
                "first_decay_steps": 3,
                "t_mul": 2.0,
                "m_mul": 0.7,
                "alpha": 0.0,
            },
        },
    },
}

CALLABLE_RATES = {
    "dyadic": (0.25, 0.03125, 0.40625, 0.125, 0.0625, 0.3125),
    "decimal": (0.2, 0.03, 0.4, 0.1, 0.07, 0.3),
}

# The largest errors of these schedules in float32, in units in the last place. Each rounding contributes one
# half, and a power or a cosine four. A relative error of the exponent p is multiplied by p * ln(rate) < 2,
# and that of the argument of the cosine by pi * p * sin(pi * p) < 2. The sums have no cancellation, thanks to
# alpha and the final learning rate. Only the restarts without alpha have some: 1 + cos(pi * 5 / 6) is 1/7 of
# its terms.
SCHEDULE_UNITS = {"exponential": 8, "inverse_time": 3, "polynomial": 12, "cosine": 12, "restarts": 64}

LOSS_SCALES = {"fixed": 1024.0, "fixed-96": 96.0, "dynamic": 8.0}
DYNAMIC_GROWTH_STEPS = 3


def full_product() -> Iterator[dict[str, str]]:
    """Yield every combination of the values of all axes.

    >>> next(full_product())["update"]
    'plain'
    """
    for values in itertools.product(*AXES.values()):
        yield dict(zip(AXES, values, strict=True))


def combination(index: int) -> dict[str, str]:
    """Return one combination of ``full_product`` by its position.

    >>> combination(0) == next(full_product())
    True
    """
    features = {}
    for axis, values in reversed(AXES.items()):
        index, position = divmod(index, len(values))
        features[axis] = values[position]
    return {axis: features[axis] for axis in AXES}


def every_pair(
    covered: Iterable[Features] = (),
    axes: Mapping[str, tuple[str, ...]] | None = None,
    *,
    apart: Collection[Pair] = (),
    times: int = 1,
    seen: Mapping[Pair, int] | None = None,
) -> list[dict[str, str]]:
    """Return a small set of combinations that contain every uncovered pair of values of any two axes.

    Each new combination starts from the first uncovered pair. Axis by axis, it takes the value that covers
    most other pairs; among equally good values, it takes the one that was used least.

    Parameters
    ----------
    covered : iterable of features, optional
        The existing combinations.
    axes : mapping of str to tuple of str, optional
        The axes, with the values that may occur; all of them by default.
    apart : collection of pairs, optional
        Pairs that no new combination has, and that need not occur.
    times : int, default 1
        The number of combinations in which each pair occurs, if there are so many.
    seen : mapping of pair to int, optional
        How often pairs occur already; by default as often as in `covered`.

    Examples
    --------
    >>> axes = {"update": ("plain", "momentum"), "averages": ("none", "averages")}
    >>> [tuple(features.values()) for features in every_pair([], axes)]
    [('plain', 'none'), ('plain', 'averages'), ('momentum', 'none'), ('momentum', 'averages')]
    """
    axes = AXES if axes is None else axes
    there = [dict(features) for features in covered]
    counts = Counter(pair for features in there for pair in pairs(features))
    if seen is not None:
        counts = Counter(seen)
    items = [(axis, value) for axis, values in axes.items() for value in values]
    missing = {
        pair: times - counts[pair]
        for pair in itertools.combinations(items, 2)
        if pair[0][0] != pair[1][0] and counts[pair] < times and pair not in apart
    }
    uses = Counter(item for features in there for item in features.items())
    known = {tuple(features.get(axis) for axis in axes) for features in there}
    combinations = []
    while missing:
        start = next(iter(missing))
        features = _combination_with(start, axes, set(apart), missing, uses)
        if features is None or tuple(features.values()) in known:
            features = _another_with(start, axes, set(apart), known)
        if features is None:
            # There is no other combination with this pair.
            del missing[start]
            continue
        combinations.append(features)
        known.add(tuple(features.values()))
        uses.update(features.items())
        for pair in pairs(features) & missing.keys():
            missing[pair] -= 1
            if not missing[pair]:
                del missing[pair]
    return combinations


def _combination_with(
    start: Pair,
    axes: Mapping[str, tuple[str, ...]],
    apart: Collection[Pair],
    missing: Mapping[Pair, int],
    uses: Mapping[tuple[str, str], int],
) -> dict[str, str] | None:
    """Return a combination with a pair and many other missing pairs; None if no value fits the others."""
    features = dict(start)
    for axis, values in axes.items():
        if axis in features:
            continue
        gains: dict[str, tuple[int, int]] = {}
        for value in values:
            new = [_in_order(axes, item, (axis, value)) for item in features.items()]
            if not apart or not any(pair in apart for pair in new):
                gains[value] = sum(pair in missing for pair in new), -uses.get((axis, value), 0)
        if not gains:
            return None
        features[axis] = max(gains, key=gains.__getitem__)
    return {axis: features[axis] for axis in axes}


def _another_with(
    start: Pair,
    axes: Mapping[str, tuple[str, ...]],
    apart: Collection[Pair],
    known: Collection[tuple[str | None, ...]],
) -> dict[str, str] | None:
    """Return the first combination with a pair that is not among the known ones; None if there is none."""
    chosen = dict(start)
    for values in itertools.product(*((chosen[a],) if a in chosen else axes[a] for a in axes)):
        features = dict(zip(axes, values, strict=True))
        if values not in known and not any(pair in apart for pair in pairs(features)):
            return features
    return None


def _in_order(axes: Iterable[str], one: tuple[str, str], other: tuple[str, str]) -> Pair:
    """Return two items as a pair, in the order of the axes."""
    return (
        (one, other) if next(axis for axis in axes if axis in (one[0], other[0])) == one[0] else (other, one)
    )


def pairs(features: Features) -> set[Pair]:
    """Return all pairs of (axis, value) that a combination covers."""
    items = [(axis, features[axis]) for axis in AXES if axis in features]
    return {(items[i], items[j]) for i in range(len(items)) for j in range(i + 1, len(items))}
