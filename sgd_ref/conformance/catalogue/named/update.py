"""Named cases of the update itself."""

from __future__ import annotations

from collections.abc import Iterator

from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT64
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.catalogue.named.building import floats, named_case


def cases() -> Iterator[Case]:
    """Yield the cases."""
    yield named_case(
        "product-overflows",
        "learning_rate * g overflows although w - learning_rate * g would be finite in one rounding.",
        floats(3e38, -3e38, 1.0),
        lambda call: floats(1e38, -1e38, 0.5) if call == 0 else floats(0.5, 0.25, 0.125 * call),
        learning_rate=4.0,
        exposes=(
            "tail-skipped",
            "updated-twice",
            "rate-left-out-without-momentum",
            "gradients-in-float16",
            "unscaled-unasked",
            "zero-momentum-multiplied",
            "unset-decay-multiplied",
        ),
    )
    yield named_case(
        "nesterov-adds-once",
        "w + (momentum * velocity - learning_rate * g) rounds the sum in parentheses before it meets w.",
        floats(2.0**24, -(2.0**24), 2.0**24 + 2, 3.0),
        lambda call: floats(-2.0, 2.0, -2.0 - call % 2, 0.5),
        learning_rate=0.5,
        momentum=0.5,
        nesterov=True,
        exposes=(
            "nesterov-ignored",
            "look-ahead-kept",
            "look-ahead-before-velocity",
            "momentum-on-gradient-alone",
            "state-in-float16",
        ),
    )
    yield named_case(
        "update-below-half-a-unit",
        "In bfloat16 the update is too small to move the weight, but the velocity grows until it does.",
        floats(1.0, -2.0, 4.0, dtype=BFLOAT16),
        lambda call: floats(2.0**-8, 2.0**-8, 2.0**-12, dtype=BFLOAT16),
        momentum=0.875,
        exposes=(
            "vector-body-skipped",
            "moves-against-velocity",
            "velocity-is-difference-of-weights",
            "half-rounded-at-random",
            "bfloat16-unscaled-unasked",
        ),
    )
    yield named_case(
        "signed-zeros",
        "-0.0 - 0.0 stays -0.0; with momentum -0.0 + 0.0 is +0.0.",
        floats(-0.0, -0.0, 0.0, 0.0),
        lambda call: floats(0.0, -0.0, 0.0, -0.0),
        exposes=("tail-skipped", "updated-twice", "rate-left-out-without-momentum", "gradients-in-float16"),
    )
    yield named_case(
        "float64-settings",
        "In float64 only the learning rate passes through float32; the other settings keep 53 bits.",
        floats(1.0, -0.3, 2.5, 0.1, dtype=FLOAT64),
        lambda call: floats(0.7, -0.2 * call, 0.11, -3.0, dtype=FLOAT64),
        learning_rate=0.1,
        momentum=0.9,
        weight_decay=0.05,
        clipvalue=0.3,
        use_ema=True,
        ema_momentum=0.95,
        exposes=(
            "clipping-through-float32",
            "averaging-through-float32",
            "weight-decay-in-bfloat16",
            "state-in-float32",
        ),
    )
