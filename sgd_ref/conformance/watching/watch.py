"""``watch``: judge the steps of a real training loop."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from sgd_ref.conformance.grading.velocities import Velocities
from sgd_ref.conformance.watching.loop import Loop
from sgd_ref.conformance.watching.recorder import Recorder
from sgd_ref.conformance.watching.report import Report
from sgd_ref.conformance.watching.request import Request
from sgd_ref.conformance.watching.settings import checked_declarations, checked_sample
from sgd_ref.validation import integer_at_least, reject_type

SAMPLE = 10_000
"""The default number of elements that are sampled in each step."""


@contextmanager
def watch(
    optimizer: Any,
    model: Any,
    *,
    rule: str | None = None,
    by_design: Collection[str] = (),
    velocities: Velocities | None = None,
    velocity_key: str | None = None,
    sample: int | None = SAMPLE,
    seed: int = 0,
    **settings: Any,
) -> Iterator[Report]:
    """Judge each step of a training loop by the derived bounds of the rule that its optimizer is held to.

    Watching changes no number that the loop computes. When the block is left, also by an exception, the
    optimizer and the model are as they were before.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer, keras.optimizers.SGD, optax.GradientTransformation, or object
        The optimizer. With Optax, use ``report.optimizer`` in its place inside of the block. Any other object
        must have the method ``apply(gradients, variables=None)`` of ``sgd_ref.SGD``.
    model : Module, Model, list of parameters or of (name, parameter), pytree
        The model or the parameters that the optimizer updates.
    rule : {"keras", "pytorch", "sutskever", "optax"}, optional
        The documented rule; by default the rule of the framework, and for other objects that of Keras.
    by_design : collection of str
        Names of known deviations that are intended.
    velocities : Velocities, optional
        The form in which the optimizer keeps velocities. If the rule multiplies the sum of gradients by the
        rate outside of the sum, the default is sums of gradients without the rate. Under the other rules, the
        default is documented velocities.
    velocity_key : str, optional
        With PyTorch, the key of ``optimizer.state[p]`` under which the velocity is; by default
        "momentum_buffer" or "velocity".
    sample : int or None, default 10000
        The number of elements, over all parameters, that are judged in each step; None for all. They are the
        same elements in all steps. The norms for clipping are always those of whole gradients.
    seed : int, default 0
        The seed for choosing the elements.
    **settings
        Settings that the optimizer does not state. A setting given here takes precedence over a stated one:
        ``learning_rate`` (a number, or a function from the step to a number), ``momentum``, ``nesterov``,
        ``weight_decay``, and one of ``clipnorm``, ``clipvalue`` and ``global_clipnorm``. Where clipping is
        declared in PyTorch, gradients are taken as ``backward`` leaves them, before ``clip_grad_norm_``.

    Yields
    ------
    Report
        The report, which is complete when the block is left.

    Raises
    ------
    TypeError, ValueError
        If an argument is not acceptable, before anything is wrapped, or in a step that cannot be watched.

    Examples
    --------
    An optimizer that forgets to multiply the velocity by the momentum:

    >>> import numpy as np
    >>> from sgd_ref import conformance
    >>> class Forgetful:
    ...     velocity = 0.0
    ...     def apply(self, gradients, variables):
    ...         for w, g in zip(variables, gradients):
    ...             self.velocity = self.velocity - np.float32(0.25) * g
    ...             w += self.velocity
    >>> w, optimizer = np.array([1.0, -2.0], "float32"), Forgetful()
    >>> with conformance.watch(optimizer, [("kernel", w)], learning_rate=0.25, momentum=0.5) as report:
    ...     for _ in range(5):
    ...         optimizer.apply([w - 3], [w])
    >>> report.ok, report.step, report.violation.variable, report.violation.element
    (False, 1, 'kernel', (0,))
    >>> print(report.mistake)
    it equals velocity-never-decays
    """
    request = Request(
        checked_declarations(settings), rule, frozenset(_named(by_design)), velocities, velocity_key
    )
    most = checked_sample(sample)
    integer_at_least("seed", seed, 0)
    loop = _loop(optimizer, model, request)
    recorder = Recorder(loop.parameters, loop.rule.basis, most, seed, loop.calls)
    report = Report(loop, recorder)
    loop.start(recorder)
    try:
        yield report
    finally:
        loop.stop()


def _named(by_design: Any) -> Collection[str]:
    if isinstance(by_design, str):
        reject_type("by_design", by_design, "several names of deviations")
    return tuple(by_design)


def _loop(optimizer: Any, model: Any, request: Request) -> Loop:
    """Return the loop for the framework of an optimizer, without importing any other framework."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(optimizer, torch.optim.Optimizer):
        from sgd_ref.conformance.watching.frameworks.torch import TorchLoop

        return TorchLoop(optimizer, model, request)
    keras = sys.modules.get("keras")
    if keras is not None and isinstance(optimizer, keras.optimizers.Optimizer):
        from sgd_ref.conformance.watching.frameworks.keras import KerasLoop

        return KerasLoop(optimizer, model, request)
    if isinstance(optimizer, tuple) and callable(getattr(optimizer, "update", None)):
        from sgd_ref.conformance.watching.frameworks.optax import OptaxLoop

        return OptaxLoop(optimizer, model, request)
    from sgd_ref.conformance.watching.frameworks.plain import PlainLoop

    return PlainLoop(optimizer, model, request)
