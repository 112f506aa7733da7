"""Named cases of weight decay."""

from __future__ import annotations

import math
from collections.abc import Iterator

from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.catalogue.named.building import floats, named_case


def cases() -> Iterator[Case]:
    """Yield the cases."""
    yield named_case(
        "infinite-weight-without-decay",
        "A weight_decay of 0.0 is set, so it is applied: infinity times 0 is NaN.",
        floats(math.inf, 1.0, -math.inf, 0.5),
        lambda call: floats(0.25, -0.5, 0.75, 1.0 + call),
        weight_decay=0.0,
        exposes=(
            "decayed-in-place",
            "gradient-in-other-layout",
            "previous-gradient",
            "variables-in-bfloat16",
        ),
    )
    yield named_case(
        "every-variable-excluded",
        "Weight decay is set and every variable is excluded from it.",
        floats(1.0, 2.0, -3.0),
        lambda call: floats(0.25, -0.5, call),
        excluded=("probe", "companion"),
        weight_decay=0.0625,
        exposes=("updates-counted-twice", "exclusion-ignored", "exclusion-by-first-name-only"),
    )
    yield named_case(
        "exclusion-is-a-substring",
        "The strings of var_names are searched for as they are; 'pr.be' is no part of 'probe'.",
        floats(1.0, 2.0, -3.0),
        lambda call: floats(0.25, -0.5, call),
        excluded=("pr.be",),
        weight_decay=0.0625,
        exposes=(
            "exclusion-by-pattern",
            "decay-multiplies-gradient",
            "decay-grows-weights",
            "exclusion-inverted",
            "decay-is-constant",
        ),
    )
    for what, text in (("dot", "compani.n"), ("anchor", "^probe")):
        yield named_case(
            f"exclusion-with-{what}",
            f"The strings of var_names are searched for as they are; {text!r} is part of no name.",
            floats(1.0, 2.0, -3.0),
            lambda call: floats(0.25, -0.5, call),
            excluded=(text,),
            weight_decay=0.0625,
            exposes=(
                "exclusion-by-pattern",
                "decay-after-update",
                "decay-grows-weights",
                "exclusion-inverted",
            ),
        )
