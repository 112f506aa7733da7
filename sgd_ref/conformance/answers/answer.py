"""An answer to an open question: a variant of the reference, and the bounds of its faithful evaluations."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from sgd_ref.conformance.bounds.walk import Walk
from sgd_ref.loss_scale import LossScaleOptimizer
from sgd_ref.optimizer import SGD


@dataclass(frozen=True)
class Answer:
    """One of the answers to a question that the documentation leaves open.

    Attributes
    ----------
    question : str
        Name of the question in ``catalogue/contested.py``.
    name : str
        The answer, in a few words.
    what : str
        What the answer says, in a sentence.
    optimizer : subclass of SGD
        The reference with this answer.
    wrapper : subclass of LossScaleOptimizer
        The same for dynamic loss scaling.
    walk : subclass of Walk
        The bounds of this answer, if they differ from those of the reference.

    Examples
    --------
    >>> Answer("wide-global-norm", "widest-dtype", "the norm is formed in the widest dtype").optimizer
    <class 'sgd_ref.optimizer.SGD'>
    """

    question: str
    name: str
    what: str
    optimizer: type[SGD] = SGD
    wrapper: type[LossScaleOptimizer] = LossScaleOptimizer
    walk: type[Walk] = Walk


class Composed(NamedTuple):
    """Answers to several questions at once, as `reference.run` and `judge` take them."""

    optimizer: type[SGD]
    wrapper: type[LossScaleOptimizer]
    walk: type[Walk]


def composed(answers: Iterable[Answer]) -> Composed:
    """Return the variant of the reference that gives some answers, and its bounds.

    Examples
    --------
    >>> composed([]) == Composed(SGD, LossScaleOptimizer, Walk)
    True
    """
    return _composed(tuple(answers))


@cache
def _composed(answers: tuple[Answer, ...]) -> Composed:
    optimizers = [answer.optimizer for answer in answers if answer.optimizer is not SGD]
    wrappers = [answer.wrapper for answer in answers if answer.wrapper is not LossScaleOptimizer]
    walks = [answer.walk for answer in answers if answer.walk is not Walk]
    optimizer = type("Answering", (*optimizers, SGD), {}) if optimizers else SGD
    wrapper = type("Answering", (*wrappers, LossScaleOptimizer), {}) if wrappers else LossScaleOptimizer
    walk = type("Answering", (*walks, Walk), {"optimizer": optimizer}) if walks or optimizers else Walk
    return Composed(optimizer, wrapper, walk)
