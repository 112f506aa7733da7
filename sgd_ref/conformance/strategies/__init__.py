"""Hypothesis strategies: numbers, arrays, gradients, settings and whole cases, for tests of your own.

There are two kinds of cases to draw. ``features().map(make_case)`` draws from the full tier, the product of
all axes with its fixed numbers. ``cases()`` draws everything: shapes, numbers, settings and schedules. No
case of either kind is degenerate. Some depend on contested questions; ``contested`` says on which.

Examples
--------
>>> from hypothesis import given, settings
>>> from sgd_ref.conformance import check, strategies
>>> from sgd_ref.conformance.trajectories import reference
>>> my_optimizer = reference.run
>>> @settings(max_examples=5, database=None, deadline=None)
... @given(strategies.cases(dtypes=("float32",), sparse=False))
... def test_my_optimizer(case):
...     assert check(my_optimizer, [case]).ok
>>> test_my_optimizer()
"""

from __future__ import annotations

try:
    import hypothesis as _hypothesis  # noqa: F401
except ImportError as error:
    raise ImportError(
        "sgd_ref.conformance.strategies needs Hypothesis, which is not installed: pip install hypothesis"
    ) from error

from sgd_ref.conformance.strategies.arrays import DTYPES, arrays, gradients, numbers, shapes
from sgd_ref.conformance.strategies.cases import cases, features
from sgd_ref.conformance.strategies.settings import configs, learning_rates, schedules

__all__ = [
    "DTYPES",
    "arrays",
    "cases",
    "configs",
    "features",
    "gradients",
    "learning_rates",
    "numbers",
    "schedules",
    "shapes",
]
