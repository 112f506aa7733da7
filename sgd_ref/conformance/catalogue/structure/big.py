"""Structures of big variables, whose elements a rule makes from their indices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from sgd_ref.arithmetic.formats import FLOAT32, FLOAT64, Array
from sgd_ref.conformance.catalogue.case import Case, Made
from sgd_ref.conformance.catalogue.made import MODULUS, made
from sgd_ref.conformance.catalogue.named.building import PLAIN_CONFIG
from sgd_ref.conformance.catalogue.numbers import NumberStream
from sgd_ref.conformance.catalogue.structure.building import (
    FEW_FORMS,
    FORMS,
    PREFIX,
    RATE,
    UPDATES,
    Form,
    Shape,
)
from sgd_ref.conformance.catalogue.structure.variables import numbered

CALLS = 2


class BigStructure(NamedTuple):
    """The common description of the big cases of a structure, with the known deviations that they are for.

    If it has settings, all elements of a gradient are 1 or all are -1, and their number makes the norms
    powers of two.
    """

    name: str
    notes: str
    shapes: Mapping[str, Shape]
    exposes: tuple[str, ...]
    settings: Mapping[str, Any] = MappingProxyType({})
    forms: tuple[Form, ...] = FORMS
    exposes_with_momentum: tuple[str, ...] = ()


STRUCTURES = (
    BigStructure(
        "big-4096",
        "Numbers of elements around 512, 1024 and 4096, the largest of them in a matrix.",
        {
            **{f"size_{size}": (size,) for size in (511, 512, 513, 1023, 1024, 4095, 4096, 4097)},
            "matrix": (63, 66),
        },
        ("large-variables-skipped", "elements-past-a-block-skipped", "last-whole-block-skipped"),
    ),
    BigStructure(
        "big-65536",
        "Numbers of elements around 65536: a limit of "
        "https://github.com/deepspeedai/DeepSpeed/issues/7640, and of indices of 16 bits.",
        {"size_65535": (65535,), "size_65536": (65536,), "size_65537": (65537,), "table": (257, 256)},
        ("indices-of-16-bits", "large-variables-skipped"),
    ),
    BigStructure(
        "big-1048577",
        "One element more than a million in binary, beside a small variable.",
        {"size_1048577": (1048577,), "size_5": (5,)},
        ("indices-of-16-bits", "large-variables-skipped"),
    ),
    BigStructure(
        "big-list",
        "There are more variables, small ones, than an index of 8 bits counts.",
        numbered(258, (2,), (1,)),
        ("gradient-index-of-8-bits", "variables-above-slots-skipped"),
        forms=FEW_FORMS,
        exposes_with_momentum=("velocity-index-of-8-bits",),
    ),
    BigStructure(
        "big-axes",
        "Matrices with more rows than a grid of threads has, and with more columns than a block has.",
        {"rows": (65537, 3), "columns": (3, 2049)},
        ("rows-past-a-grid-skipped", "columns-past-a-block-skipped"),
        forms=FEW_FORMS,
    ),
    BigStructure(
        "big-norm",
        "The norm of 262144 elements is 512, and that of any part of them is another one.",
        {"size_262144": (262144,), "matrix": (2, 2)},
        ("norm-of-first-block", "large-variables-skipped"),
        {"clipnorm": 128.0},
    ),
    BigStructure(
        "big-global-norm",
        "The norm of all elements of two gradients together is 512.",
        {"size_196608": (196608,), "size_65536": (65536,)},
        ("norm-of-first-block", "large-variables-skipped"),
        {"global_clipnorm": 128.0},
        (Form("momentum", FLOAT32), Form("momentum", FLOAT64), Form("plain", FLOAT32)),
    ),
)

ONE, MINUS_ONE = (0, 4), (0, 3)
"""The numbers from which an array of ones is made, and an array of minus ones."""


def cases() -> Iterator[Case]:
    """Yield the cases, one for each structure and form.

    >>> next(cases()).id
    'structure/big-4096/plain/float32'
    """
    for structure in STRUCTURES:
        for form in structure.forms:
            yield _case(structure, form)


def _case(structure: BigStructure, form: Form) -> Case:
    numbers = NumberStream(structure.name)

    def drawn() -> tuple[int, int]:
        first, second = (int(abs(number) * (MODULUS - 2)) + 1 for number in numbers.array((2,), FLOAT64, 1.0))
        return first, second

    def of_gradient(call: int, position: int) -> tuple[int, int]:
        if structure.settings:
            return MINUS_ONE if (call + position) % 2 else ONE
        return drawn()

    rule = Made(
        tuple(drawn() for _ in structure.shapes),
        tuple(tuple(of_gradient(call, i) for i in range(len(structure.shapes))) for call in range(CALLS)),
    )
    shapes = list(structure.shapes.values())

    def arrays(pairs: tuple[tuple[int, int], ...]) -> tuple[Array, ...]:
        return tuple(made(*pair, shape, form.dtype) for pair, shape in zip(pairs, shapes, strict=True))

    return Case(
        id=f"{PREFIX}{structure.name}/{form.update}/{form.dtype.name}",
        config=PLAIN_CONFIG | {"learning_rate": RATE} | UPDATES[form.update] | dict(structure.settings),
        names=tuple(structure.shapes),
        variables=arrays(rule.variables),
        gradients=tuple(arrays(pairs) for pairs in rule.gradients),
        exposes=structure.exposes + (structure.exposes_with_momentum if form.update != "plain" else ()),
        notes=structure.notes,
        made=rule,
    )
