"""fit: scale the loss, differentiate, apply, and finalize when training has ended."""

from __future__ import annotations

import itertools
import numbers
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import Array, is_supported
from sgd_ref.base.optimizer import BaseSGD
from sgd_ref.gradients import Gradient
from sgd_ref.loss_scale import LossScaleOptimizer
from sgd_ref.validation import integer_at_least, reject_type, reject_value

Optimizer = BaseSGD | LossScaleOptimizer
LossAndGradients = Callable[[list[Array], Any, Callable[[Any], Any]], tuple[Any, Sequence[Gradient]]]


@dataclass(frozen=True)
class Progress:
    """The progress of training after one batch, as callbacks get it.

    Attributes
    ----------
    epoch, batch : int
        Counted from 0; batches start again in each epoch.
    loss : float
        The loss of this batch, not scaled, before its gradients were applied.
    optimizer : SGD or LossScaleOptimizer
        The optimizer of this training; its learning rate may be set.
    variables : list of ndarray
        The arrays that are trained, after this batch.
    """

    epoch: int
    batch: int
    loss: float
    optimizer: Optimizer = field(repr=False)
    variables: list[Array] = field(repr=False)


@dataclass(frozen=True)
class History:
    """The losses of a training, none of them scaled.

    Attributes
    ----------
    losses : tuple of float
        One for each batch of all epochs, in order.
    epoch_losses : tuple of float
        For each epoch the mean of the losses of its batches.
    epoch_batches : tuple of int
        For each epoch the number of its batches.
    """

    losses: tuple[float, ...]
    epoch_losses: tuple[float, ...]
    epoch_batches: tuple[int, ...]


def fit(
    optimizer: Optimizer,
    variables: Sequence[Array],
    loss_and_gradients: LossAndGradients,
    batches: Iterable[Any],
    epochs: int = 1,
    callbacks: Sequence[Callable[[Progress], object]] = (),
) -> History:
    """Train: for each batch of each epoch, compute the gradients and apply them.

    After the last epoch the averages of the variables, where the optimizer keeps them, are written into
    the variables, once.

    Parameters
    ----------
    optimizer : SGD or LossScaleOptimizer
        It is built on the variables if it is not built yet.
    variables : list of ndarray
        The arrays to train, updated in place: all variables of the optimizer, in the order in which it was
        built.
    loss_and_gradients : callable
        Called with ``(variables, batch, scale_loss)``; returns the loss, a real number that is not
        scaled, and the gradients of ``scale_loss(loss)``, one for each variable as for
        ``optimizer.apply``. Since differentiation is linear, the callable may instead start backpropagation
        from ``scale_loss(1.0)`` as the gradient at the loss.
    batches : iterable
        Batches of any kind that `loss_and_gradients` takes, at least one in each epoch. For more than one
        epoch, it must be possible to iterate more than once, as over a list and unlike over a generator.
    epochs : int, default 1
        At least 1.
    callbacks : list of callable, optional
        Each is called with a ``Progress`` after every batch; its result is ignored.

    Returns
    -------
    History
        The losses.

    Raises
    ------
    TypeError, ValueError
        If an argument is not acceptable; nothing has changed then. If an epoch has no batch, or if
        `loss_and_gradients` returns something else, everything stays as it was after the batch before.

    Notes
    -----
    An error that `batches`, `loss_and_gradients` or a callback raises is passed on. The variables are then as
    the last call of ``apply`` left them, without the averages.

    Averages are finalised at the same time as in ``Trainer.fit`` of Keras 3.15.1.

    Examples
    --------
    >>> import numpy as np
    >>> from sgd_ref import SGD
    >>> x = np.array([[0.0], [1.0], [2.0], [3.0]], "float32")
    >>> y = 2 * x + 1
    >>> slope, intercept = np.zeros((1, 1), "float32"), np.zeros(1, "float32")
    >>> def loss_and_gradients(variables, batch, scale_loss):
    ...     slope, intercept = variables
    ...     x, y = batch
    ...     error = x @ slope + intercept - y
    ...     scaled = scale_loss(np.float32(1)) * 2 * error / len(x)
    ...     return (error**2).mean(), [x.T @ scaled, scaled.sum(axis=0)]
    >>> history = fit(
    ...     SGD(0.1, momentum=0.5),
    ...     [slope, intercept],
    ...     loss_and_gradients,
    ...     [(x[:2], y[:2]), (x[2:], y[2:])],
    ...     epochs=100,
    ... )
    >>> slope.round(3), intercept.round(3)
    (array([[2.]], dtype=float32), array([1.], dtype=float32))
    >>> history.losses[0], len(history.losses), history.epoch_losses[-1] < 1e-6
    (5.0, 200, True)
    """
    if not isinstance(optimizer, (BaseSGD, LossScaleOptimizer)):
        reject_type("optimizer", optimizer, "an SGD optimizer or a LossScaleOptimizer")
    epochs = integer_at_least("epochs", epochs, 1)
    if not callable(loss_and_gradients):
        reject_type("loss_and_gradients", loss_and_gradients, "a callable")
    if not isinstance(callbacks, (list, tuple)):
        reject_type("callbacks", callbacks, "a list of callables")
    for index, callback in enumerate(callbacks):
        if not callable(callback):
            reject_type(f"callbacks[{index}]", callback, "a callable")
    try:
        iterator = iter(batches)
    except TypeError:
        reject_type("batches", batches, "an iterable")
    if epochs > 1 and iterator is batches:
        reject_value("batches", batches, f"iterable {epochs} times, once for each epoch, and no iterator")
    iterator = _with_a_batch(iterator, 0)
    optimizer.build(variables)
    trained = list(variables)

    losses: list[float] = []
    epoch_losses: list[float] = []
    epoch_batches: list[int] = []
    for epoch in range(epochs):
        if epoch:
            iterator = _with_a_batch(iter(batches), epoch)
        start = len(losses)
        for number, batch in enumerate(iterator):
            loss, gradients = _checked_pair(loss_and_gradients(trained, batch, optimizer.scale_loss))
            optimizer.apply(gradients, trained)
            losses.append(loss)
            for callback in callbacks:
                callback(Progress(epoch, number, loss, optimizer, trained))
        with np.errstate(all="ignore"):
            epoch_losses.append(float(np.mean(losses[start:])))
        epoch_batches.append(len(losses) - start)
    optimizer.finalize_variable_values(trained)
    return History(tuple(losses), tuple(epoch_losses), tuple(epoch_batches))


def _with_a_batch(iterator: Iterator[Any], epoch: int) -> Iterator[Any]:
    """Return an iterator over the same batches; raise a ValueError if there is no batch."""
    try:
        first = next(iterator)
    except StopIteration:
        raise ValueError(
            f"batches must yield at least one batch in each epoch, got none in epoch {epoch}"
        ) from None
    return itertools.chain([first], iterator)


def _checked_pair(returned: Any) -> tuple[float, Any]:
    if not isinstance(returned, (list, tuple)) or len(returned) != 2:
        reject_type("what loss_and_gradients returns", returned, "a pair of the loss and the gradients")
    loss, gradients = returned
    if isinstance(loss, np.ndarray) and loss.ndim == 0:
        loss = loss[()]
    # bfloat16 is not registered as a real number.
    real = isinstance(loss, numbers.Real) or (isinstance(loss, np.generic) and is_supported(loss.dtype))
    if not real or isinstance(loss, bool):
        reject_type("the loss that loss_and_gradients returns", loss, "a real number")
    try:
        return float(loss), gradients
    except OverflowError:
        reject_value(
            "the loss that loss_and_gradients returns", loss, "a real number in the range of float64"
        )
