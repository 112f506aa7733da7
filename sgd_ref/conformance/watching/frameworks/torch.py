"""Loops of PyTorch: hooks before and after each step of an optimizer."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import FrameType
from typing import Any

import numpy as np
import torch

from sgd_ref.conformance.watching.frameworks.applying import check_names
from sgd_ref.conformance.watching.frameworks.torch_settings import (
    by_design_of,
    is_skipped,
    scale_of,
    settings_of,
    usual_rule,
)
from sgd_ref.conformance.watching.frameworks.torch_tensors import DTYPES, gathered, square_of
from sgd_ref.conformance.watching.recorder import Recorder
from sgd_ref.conformance.watching.request import Request
from sgd_ref.conformance.watching.settings import SUMS, config_of, rate_at
from sgd_ref.conformance.watching.steps import Group, Parameter, Values
from sgd_ref.validation import reject_type, reject_value

VELOCITY_KEYS = ("momentum_buffer", "velocity")
"""The keys under which optimizers usually keep velocities."""


class TorchLoop:
    """A loop of PyTorch.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        The optimizer. Its groups state the settings that are not declared, with the names that
        ``torch.optim.SGD`` gives them.
    model : Module, or iterable of Tensor or of (name, Tensor)
        The source of the parameters' names.
    request : Request
        What the user asks of ``watch``.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not a dense tensor of one of the four dtypes, a setting is missing, or the
        optimizer states something that no rule has.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, model: Any, request: Request) -> None:
        self.optimizer = optimizer
        self.name = f"{type(optimizer).__module__}.{type(optimizer).__qualname__}".removeprefix("__main__.")
        if type(optimizer).__module__.startswith("torch.optim"):
            self.name = f"torch.optim.{type(optimizer).__qualname__}"
        self._declared = dict(request.declared)
        self._tensors, names = _parameters(optimizer)
        found = _names(model)
        self.notes = _not_given(found, self._tensors)
        self.parameters = [
            Parameter(found.get(id(tensor), (name, None))[0], tuple(tensor.shape), DTYPES[tensor.dtype])
            for tensor, name in zip(self._tensors, names, strict=True)
        ]
        check_names([parameter.name for parameter in self.parameters])
        if request.velocities is None and isinstance(optimizer, torch.optim.SGD):
            request.velocities = SUMS
        self.rule = request.held_to(usual_rule(optimizer), by_design_of(optimizer.param_groups))
        groups = self._groups()
        self._rates(0)
        self._keys = VELOCITY_KEYS if request.velocity_key is None else (request.velocity_key,)
        self.calls = int(any(optimizer.state.get(tensor) for tensor in self._tensors))
        self._is_hidden = self.rule.sign == 0
        self._is_decided = self._is_hidden or any(map(self._velocity, self._tensors))
        if self.calls and _have_momentum(groups) and not any(map(self._velocity, self._tensors)):
            raise ValueError(
                f"velocity_key must be the key of optimizer.state[p] that has the velocity, got "
                f"{request.velocity_key!r}; none of the keys {', '.join(self._keys)} is there"
            )
        self._early: dict[int, Any] = {}
        self._handles: list[Any] = []

    def start(self, recorder: Recorder) -> None:
        """Register the hooks."""
        self._recorder = recorder
        self._indices = [
            None if elements is None else torch.from_numpy(elements).to(tensor.device)
            for elements, tensor in zip(recorder.elements, self._tensors, strict=True)
        ]
        self._begun: tuple[Any, ...] | None = None
        self._is_skipped = False
        self._caller: FrameType | None = None
        self._handles = [
            self.optimizer.register_step_pre_hook(self._before),
            self.optimizer.register_step_post_hook(self._after),
        ]
        if any(self._declared.get(name) is not None for name in ("clipnorm", "clipvalue", "global_clipnorm")):
            # Users clip between the backward pass and the step. Where clipping is declared, it is judged too,
            # so the gradients before clipping are needed.
            self._handles += [
                tensor.register_post_accumulate_grad_hook(self._taker(position))
                for position, tensor in enumerate(self._tensors)
                if tensor.requires_grad
            ]

    def stop(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()
        self._handles, self._early, self._begun, self._caller = [], {}, None, None

    def take_gradients(self) -> None:
        """Take the gradients of the next step from where they are now."""
        with self._recorder.timed():
            needs_squares = self._recorder.needs_squares(self._groups())
            for position, tensor in enumerate(self._tensors):
                self._take(position, tensor, needs_squares)

    def _taker(self, position: int) -> Callable[[Any], None]:
        def take(tensor: Any) -> None:
            if not self._recorder.is_done:
                with self._recorder.timed():
                    self._take(position, tensor, self._recorder.needs_squares(self._groups()))

        return take

    def _take(self, position: int, tensor: Any, needs_squares: bool) -> None:
        if tensor.grad is not None:
            (taken,) = gathered([tensor.grad], [self._indices[position]])
            self._early[position] = (taken, square_of(tensor.grad) if needs_squares else None)

    def _before(self, optimizer: Any, arguments: Any, named: Any) -> Any:
        caller = sys._getframe(1)
        if self._caller is not None and _is_called_by(self._caller, caller):
            # The step of a subclass calls that of its base class, and the hooks are called for both.
            return None
        self._caller = caller
        # The first argument is the optimizer itself.
        closure = arguments[1] if len(arguments) > 1 else named.get("closure")
        if self._recorder.is_done:
            return None
        if closure is None:
            self._begin()
            return None

        def watched() -> Any:
            loss = closure()
            self._begin()
            return loss

        if len(arguments) > 1:
            return (arguments[0], watched, *arguments[2:]), named
        return arguments, {**named, "closure": watched}

    def _begin(self) -> None:
        """Copy the inputs of a step."""
        with self._recorder.timed(), torch.no_grad():
            groups = self._groups()
            if is_skipped(self.optimizer):
                self._is_skipped = True
                self._recorder.start_from(self._values(groups))
                return
            rates = self._rates(self._recorder.number)
            gradients: list[Any] = [None] * len(self._tensors)
            squares: list[Any] = [None] * len(self._tensors)
            late = []
            for position, tensor in enumerate(self._tensors):
                if tensor.grad is None:
                    continue
                if position in self._early:
                    gradients[position], squares[position] = self._early[position]
                else:
                    late.append(position)
            found = gathered([self._tensors[p].grad for p in late], [self._indices[p] for p in late])
            needs_squares = self._recorder.needs_squares(groups)
            for position, gradient in zip(late, found, strict=True):
                gradients[position] = gradient
                squares[position] = square_of(self._tensors[position].grad) if needs_squares else None
            self._early = {}
            self._begun = groups, rates, self._values(groups), gradients, squares if needs_squares else None

    def _after(self, optimizer: Any, arguments: Any, named: Any) -> None:
        """Copy the outputs of a step, and give the step to the recorder."""
        if sys._getframe(1) is not self._caller:
            return
        recorder, self._caller = self._recorder, None
        if self._is_skipped:
            # Other optimizers are not even called for a step that GradScaler skips.
            self._is_skipped = False
            return
        if self._begun is None or recorder.is_done:
            recorder.count()
            return
        groups, rates, before, gradients, squares = self._begun
        self._begun = None
        with recorder.timed(), torch.no_grad():
            if not self._is_decided and self._hides_velocities(groups, gradients):
                self._is_hidden = True
                before.velocities = None
            recorder.add(groups, rates, before, gradients, self._values(groups), squares)

    def _values(self, groups: Sequence[Group]) -> Values:
        variables = gathered(self._tensors, self._indices)
        if self._is_hidden or not _have_momentum(groups):
            return Values(variables)
        kept = [self._velocity(tensor) for tensor in self._tensors]
        seen = [
            tensor if state is None else state[0] for state, tensor in zip(kept, self._tensors, strict=True)
        ]
        velocities = gathered(seen, self._indices)
        for position, state in enumerate(kept):
            if state is None:
                velocities[position] = np.zeros_like(velocities[position])
            elif self.rule.sign < 0:
                velocities[position] = -velocities[position]
        return Values(variables, velocities)

    def _hides_velocities(self, groups: Sequence[Group], gradients: Sequence[Any]) -> bool:
        """Whether a velocity is not shown in the first step that makes some, so that all are computed."""
        made = [
            self._velocity(self._tensors[position])
            for group in groups
            if group.config["momentum"] != 0
            for position in group.positions
            if gradients[position] is not None
        ]
        self._is_decided = bool(made)
        return not all(made)

    def _velocity(self, tensor: Any) -> tuple[Any] | None:
        """Return the stored velocity in a tuple, or None if there is none."""
        state = self.optimizer.state.get(tensor)
        if not isinstance(state, Mapping):
            return None
        kept = (state.get(key) for key in self._keys)
        return next(
            ((found,) for found in kept if isinstance(found, torch.Tensor) and found.shape == tensor.shape),
            None,
        )

    def _groups(self) -> tuple[Group, ...]:
        """Return the groups with their present settings."""
        positions = {id(tensor): position for position, tensor in enumerate(self._tensors)}
        scale = scale_of(self.optimizer)
        scaled = {} if scale is None else {"loss_scale_factor": scale}
        return tuple(
            Group(
                tuple(sorted(positions[id(tensor)] for tensor in group["params"])),
                config_of(settings_of(group, self._declared) | scaled),
            )
            for group in self.optimizer.param_groups
        )

    def _rates(self, step: int) -> tuple[float, ...]:
        if "learning_rate" in self._declared:
            rate = rate_at(self._declared["learning_rate"], step)
            return (rate,) * len(self.optimizer.param_groups)
        for group in self.optimizer.param_groups:
            if "lr" not in group:
                raise ValueError(
                    "learning_rate must be declared, since the groups of the optimizer have no 'lr'"
                )
        return tuple(float(group["lr"]) for group in self.optimizer.param_groups)


def _is_called_by(caller: FrameType, frame: FrameType | None) -> bool:
    """Whether a frame is another one, or is executed within it."""
    while frame is not None and frame is not caller:
        frame = frame.f_back
    return frame is not None


def _have_momentum(groups: Iterable[Group]) -> bool:
    return any(group.config["momentum"] != 0 for group in groups)


def _parameters(optimizer: Any) -> tuple[list[Any], list[str]]:
    """Return the parameters in the order of the groups. Those that the model does not name get a name."""
    tensors, names = [], []
    for index, group in enumerate(optimizer.param_groups):
        given = group.get("param_names") or [f"group {index}, {n}" for n in range(len(group["params"]))]
        for tensor, name in zip(group["params"], given, strict=True):
            if tensor.dtype not in DTYPES or tensor.layout != torch.strided or hasattr(tensor, "to_local"):
                reject_type(
                    name,
                    type(tensor),
                    "a dense tensor of float16, bfloat16, float32 or float64 on one device",
                )
            tensors.append(tensor)
            names.append(name)
    if not tensors:
        reject_value("optimizer", type(optimizer).__name__, "an optimizer that has parameters")
    return tensors, names


def _names(model: Any) -> dict[int, tuple[str, Any]]:
    """Return the name and the tensor for each id of a tensor."""
    if isinstance(model, torch.nn.Module):
        return {id(tensor): (name, tensor) for name, tensor in model.named_parameters()}
    if not isinstance(model, Iterable) or isinstance(model, (str, bytes, torch.Tensor)):
        reject_type("model", model, "a Module, or a list of tensors or of pairs of a name and a tensor")
    found = {}
    for place, item in enumerate(model):
        name, tensor = item if isinstance(item, tuple) else (f"parameter {place}", item)
        if not isinstance(tensor, torch.Tensor):
            reject_type(f"model[{place}]", tensor, "a tensor, or a pair of a name and a tensor")
        found[id(tensor)] = (str(name), tensor)
    return found


def _not_given(found: Mapping[int, tuple[str, Any]], tensors: list[Any]) -> list[str]:
    given = {id(tensor) for tensor in tensors}
    left = [name for key, (name, tensor) in found.items() if key not in given and tensor.requires_grad]
    if not given & found.keys():
        raise ValueError("model must have parameters of the optimizer, and has none of them")
    return [f"the optimizer does not have {', '.join(left)}"] if left else []
