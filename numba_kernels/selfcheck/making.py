"""Cases for chosen kernels: the settings that lead to a kernel, and numbers for it."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from numba_kernels.selfcheck.extent import Extent
from numba_kernels.shared.element import ACCUMULATED, NESTEROV, NO_MOMENTUM, PLAIN, Variant
from sgd_ref import SGD
from sgd_ref.arithmetic.formats import Array
from sgd_ref.arithmetic.rounded import convert
from sgd_ref.conformance.catalogue.case import Case

STEPS = 2
"""The number of calls of a window of accumulation."""

MOST = Variant(NESTEROV, ACCUMULATED, averages=True)
LEAST = Variant(NO_MOMENTUM, PLAIN, averages=False)


def settings_for(variant: Variant, **others: Any) -> dict[str, Any]:
    """Return the config of an optimizer that uses this kernel, with every feature on that keeps the kernel.

    Parameters
    ----------
    variant : Variant
        The kernel.
    **others
        Settings that replace the ones chosen here.

    Examples
    --------
    >>> settings_for(LEAST)["momentum"], settings_for(MOST)["nesterov"]
    (0.0, True)
    """
    chosen: dict[str, Any] = {
        "learning_rate": 0.1,
        "momentum": 0.0 if variant.momentum == NO_MOMENTUM else 0.9,
        "nesterov": variant.momentum == NESTEROV,
        "weight_decay": 0.05,
        "use_ema": variant.averages,
        "ema_momentum": 0.95,
        "ema_overwrite_frequency": 3 if variant.averages else None,
        "loss_scale_factor": 96.0 if variant.gradient != PLAIN else None,
        "gradient_accumulation_steps": STEPS if variant.gradient == ACCUMULATED else None,
    }
    if "clipnorm" not in others and "global_clipnorm" not in others:
        chosen["clipvalue"] = 0.6
    return SGD(**(chosen | others)).get_config()


def random_numbers(extent: Extent, identifier: str) -> np.random.Generator:
    """Return the random numbers of a case, which depend only on this case and the seed."""
    return np.random.default_rng([extent.seed, zlib.crc32(identifier.encode())])


def numbers(generator: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return numbers with full significands, most of them between 1/16 and 2, of both signs."""
    magnitudes = np.exp2(generator.uniform(-4, 1, shape))
    return convert(np.asarray(np.copysign(magnitudes, generator.uniform(-1, 1, shape))), dtype)


def calls_for(variant: Variant) -> int:
    """Return the number of calls for three updates, including one that overwrites."""
    return 3 * (STEPS if variant.gradient == ACCUMULATED else 1)


def case_of(
    identifier: str,
    config: dict[str, Any],
    variables: Sequence[Array],
    gradients: Sequence[Sequence[Any]],
    **others: Any,
) -> Case:
    """Return a case with variables ``v0``, ``v1``, ...; the weights of the last one do not decay."""
    names = tuple(f"v{index}" for index in range(len(variables)))
    return Case(
        identifier,
        config,
        names,
        tuple(variables),
        tuple(tuple(call) for call in gradients),
        excluded_from_weight_decay=names[-1:] if len(names) > 1 else (),
        finalize=bool(config["use_ema"]),
        **others,
    )


def dense_case(
    identifier: str,
    variant: Variant,
    shapes: Sequence[tuple[int, ...]],
    dtype: np.dtype[Any],
    generator: np.random.Generator,
    **settings: Any,
) -> Case:
    """Return a case of variables of one dtype with dense gradients, for one kernel."""
    config = settings_for(variant, **settings)
    scale = config["loss_scale_factor"] or 1.0
    gradients = [
        [convert(numbers(generator, shape, np.dtype(np.float64)) * scale, dtype) for shape in shapes]
        for _ in range(calls_for(variant))
    ]
    return case_of(identifier, config, [numbers(generator, shape, dtype) for shape in shapes], gradients)
