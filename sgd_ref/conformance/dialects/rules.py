"""The documented rules by name: how each differs from Keras, and where its documentation says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.faithful.clipping import ClipByQuotient, GlobalClipByQuotient
from sgd_ref.optimizer import SGD


@dataclass(frozen=True)
class Part:
    """One way in which a rule differs from the definition.

    Attributes
    ----------
    name : str
        The known deviation that implements it.
    address : str
        The documentation that states it, as a URL.
    concerns : callable
        Whether it changes more than roundings in a case.
    """

    name: str
    address: str
    concerns: Callable[[Case], bool]


@dataclass(frozen=True)
class Rule:
    """A documented rule.

    Attributes
    ----------
    parts : tuple of Part
        Its differences from the definition.
    roundings : tuple of subclass of SGD
        Faithful variants with the order of operations of the framework's code; their bits count as "exact".
    """

    parts: tuple[Part, ...] = ()
    roundings: tuple[type[SGD], ...] = ()


def rate_changes_under_momentum(case: Case) -> bool:
    """Whether there are velocities, and a learning rate that may change or be 0."""
    rate = case.config["learning_rate"]
    changes = case.learning_rate_calls is not None or isinstance(rate, dict) or rate == 0
    return bool(changes and case.config["momentum"] != 0)


def decays(case: Case) -> bool:
    """Whether `weight_decay` is set, even to 0.0."""
    return case.config["weight_decay"] is not None


def decays_by_zero(case: Case) -> bool:
    """Whether `weight_decay` is 0.0."""
    return bool(case.config["weight_decay"] == 0)


def clips_by_norm(case: Case) -> bool:
    """Whether gradients are clipped by a norm, of each gradient or of all gradients."""
    return case.config["clipnorm"] is not None or clips_globally(case)


def clips_globally(case: Case) -> bool:
    """Whether gradients are clipped by their common norm."""
    return case.config["global_clipnorm"] is not None


def looks_ahead(case: Case) -> bool:
    """Whether there is Nesterov momentum."""
    return bool(case.config["nesterov"]) and case.config["momentum"] != 0


def accumulates(case: Case) -> bool:
    """Whether gradients are accumulated."""
    return case.config["gradient_accumulation_steps"] is not None


TORCH_SGD = "https://docs.pytorch.org/docs/stable/generated/torch.optim.SGD.html"
TORCH_NORM = "https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.clip_grad_norm_.html"
TORCH_CLIP = "https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.clip_grads_with_norm_.html"
SUTSKEVER = "https://proceedings.mlr.press/v28/sutskever13.html"
OPTAX_SGD = "https://optax.readthedocs.io/en/latest/api/optimizers.html#optax.sgd"
OPTAX_STEPS = "https://optax.readthedocs.io/en/latest/api/transformations.html#optax.MultiSteps"

RULES: dict[str, Rule] = {
    "keras": Rule(),
    "pytorch": Rule(
        (
            Part("rate-outside-velocity", TORCH_SGD, rate_changes_under_momentum),
            Part("decay-enters-velocity", TORCH_SGD, decays),
            Part("zero-decay-skipped", TORCH_SGD, decays_by_zero),
            # "The norm is computed over the norms of the individual gradients", each in its dtype.
            Part("norm-of-half-norms", TORCH_NORM, clips_globally),
            Part("clip-adds-epsilon", TORCH_CLIP, clips_by_norm),
            # The formula gives the factor 0 for an infinite norm.
            Part("infinite-norm-hides-gradients", TORCH_CLIP, clips_globally),
        ),
        # The factor is formed and clamped to 1 before it multiplies.
        (ClipByQuotient, GlobalClipByQuotient),
    ),
    # The gradient is taken at the point ahead, and the weights are those without the look-ahead.
    "sutskever": Rule((Part("nesterov-ignored", SUTSKEVER, looks_ahead),)),
    "optax": Rule(
        (
            Part("rate-outside-velocity", OPTAX_SGD, rate_changes_under_momentum),
            # The wrapped optimizer, and its count, see one update for each window.
            Part("schedule-counts-updates", OPTAX_STEPS, accumulates),
            # `accumulator_dtype` is float32 unless it is given.
            Part("accumulator-in-single", OPTAX_STEPS, accumulates),
        )
    ),
}
"""By name; the rule of Keras comes first."""
