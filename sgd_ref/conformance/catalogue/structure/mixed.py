"""Structures with several dtypes: the first variable is narrow, and both half types stand side by side."""

from __future__ import annotations

from collections.abc import Iterator

from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.catalogue.structure.building import Feature, Form, Structure, made

BRAIN_FIRST = Feature("mixed", dtypes=(BFLOAT16, FLOAT32, FLOAT16, FLOAT64))
HALF_FIRST = Feature("mixed", dtypes=(FLOAT16, FLOAT32, BFLOAT16, FLOAT64))
GLOBALLY_CLIPPED = Feature(
    "mixed-global_clipnorm", {"global_clipnorm": 16.0}, dtypes=(BFLOAT16, FLOAT32, FLOAT16, FLOAT64)
)

FORMS = (Form("plain", FLOAT32), Form("momentum", FLOAT32), Form("nesterov", FLOAT32))
"""The feature replaces their dtypes."""

SHAPES = {"first": (3,), "single": (3,), "other": (3,), "double": (3,), "again": (3,)}


def _structure(name: str, words: str) -> Structure:
    return Structure(
        name,
        f"A variable in {words} comes first; others hold more bits than it does, or hold them otherwise.",
        SHAPES,
        fine={"single": 12, "double": 30},
    )


NARROW_FIRST = (
    (_structure("bfloat16-first", "bfloat16"), BRAIN_FIRST),
    (_structure("float16-first", "float16"), HALF_FIRST),
)

EXPOSES = ("dtype-of-first-variable-for-all", "halves-read-as-the-first-half")


def cases() -> Iterator[Case]:
    """Yield the cases: each structure with every update, and the first one with a global norm.

    >>> next(cases()).id
    'structure/bfloat16-first/mixed/plain/mixed'
    """
    for structure, feature in NARROW_FIRST:
        for form in FORMS:
            yield made(structure, form, feature, EXPOSES)
    for form in FORMS:
        yield made(NARROW_FIRST[0][0], form, GLOBALLY_CLIPPED, ("global-norm-of-each-dtype",))
