"""The code with which a script runs PyTorch: the training loop that a user would write for one case."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from sgd_ref.arithmetic.formats import BFLOAT16
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.targets.scripts import by_the_kit as worker
from sgd_ref.conformance.targets.scripts import own
from sgd_ref.conformance.targets.torch.launch import ENVIRONMENT
from sgd_ref.gradients import SparseRows

OPTIONS = {
    "loop": ", foreach=False, fused=False",
    "foreach": ", foreach=True",
    "fused": ", fused=True",
    "compiled": "",
}

ASKED = {"ascends": "maximize=True", "dampened-after-the-first-update": "dampening={momentum!r}"}
"""The arguments that ask for known deviations."""

TENSORS = """
def tensor(array):
    return torch.from_numpy(np.array(array))


def array(tensor):
    return np.array(tensor.detach().numpy())
"""

# PyTorch knows nothing of the bfloat16 of ml_dtypes.
TENSORS_OF_BFLOAT16 = """
def tensor(array):
    if array.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(np.array(array).view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(np.array(array))


def array(tensor):
    if tensor.dtype == torch.bfloat16:
        return np.array(tensor.detach().view(torch.int16).numpy()).view(ml_dtypes.bfloat16)
    return np.array(tensor.detach().numpy())
"""


def how_to_run(
    case: Case, variant: str, optimizer: str | None = None, by_design: Collection[str] = ()
) -> str:
    """Return the code that defines ``run(case)`` for ``torch.optim.SGD``.

    Parameters
    ----------
    case : Case
        The case to run; the code covers only the features of this case. With a schedule, sparse gradients, or
        a state of more than velocities, the code uses this package.
    variant : {"loop", "foreach", "fused", "compiled"}
        As for ``targets.torch.launch.Torch``.
    optimizer : str, optional
        ``module:class`` of another optimizer, which takes the same settings. It chooses its variant itself.
    by_design : collection of str
        Names of deviations among `ASKED`.

    Examples
    --------
    >>> import numpy as np
    >>> config = {"learning_rate": 0.5, "momentum": 0.25}
    >>> case = Case("a", config, ("w",), (np.ones(2, "f4"),), ((np.ones(2, "f4"),),))
    >>> print(next(line for line in how_to_run(case, "fused").splitlines() if "SGD" in line))
        optimizer = torch.optim.SGD(parameters, lr=0.5, momentum=0.25, fused=True)
    """
    reason = _not_written_here(case)
    if reason is not None:
        return worker.how_to_run("torch", variant, reason)
    has_bfloat16 = any(array.dtype == BFLOAT16 for array in case.variables)
    lines = ["import os", ""]
    lines += [f'os.environ["{name}"] = "{value}"' for name, value in ENVIRONMENT.items()]
    lines += [
        "",
        "import torch",
        "",
        *([] if optimizer is None else own.imported(optimizer).splitlines()),
        *(TENSORS_OF_BFLOAT16 if has_bfloat16 else TENSORS).splitlines(),
        "",
        "",
    ]
    lines += ["def run(case):"]
    made = "torch.optim.SGD" if optimizer is None else own.NAME
    more = [ASKED[name].format(**case.config) for name in sorted(by_design)]
    more += [OPTIONS[variant].removeprefix(", ")] if optimizer is None and OPTIONS[variant] else []
    calls_before = 0 if case.state is None else case.state.calls
    body = [*_construction(case, variant, made, more), "trajectory = []", f"calls = updates = {calls_before}"]
    body += ["for gradients in case.gradients:", *_indented(_call(case, variant))]
    if case.config.get("use_ema") and case.finalize:
        body += ["copy_averages()", "trajectory.append(record())"]
    return "\n".join([*lines, *_indented([*body, "return trajectory"])])


def _not_written_here(case: Case) -> str | None:
    if isinstance(case.config.get("learning_rate"), dict):
        return "The formula of the schedule is that of the kit."
    state = case.state
    if state is not None and not worker.resumes_velocities_alone(case):
        return "The state from which the case resumes is converted by the kit."
    if any(isinstance(gradient, SparseRows) for call in case.gradients for gradient in call):
        return "Sparse gradients are made by the kit."
    return None


def _construction(case: Case, variant: str, made: str, more: list[str]) -> Iterator[str]:
    config = case.config
    yield "parameters = [torch.nn.Parameter(tensor(value)) for value in case.variables]"
    rate = repr(float(config["learning_rate"])) if case.learning_rate_calls is None else "1.0"
    if variant == "compiled" and case.learning_rate_calls is not None:
        # With a Python float, torch.compile would make a new graph for every value.
        rate = "torch.tensor(1.0)"
    settings = f"lr={rate}"
    if config.get("momentum"):
        settings += f", momentum={config['momentum']!r}" + (
            ", nesterov=True" if config.get("nesterov") else ""
        )
    elif config.get("nesterov"):
        settings += ", nesterov=True"
    decay = config.get("weight_decay") or 0.0
    patterns = case.excluded_from_weight_decay
    excluded = [
        position for position, name in enumerate(case.names) if any(part in name for part in patterns)
    ]
    groups = "parameters"
    if decay and excluded:
        decayed = [position for position in range(len(case.names)) if position not in excluded]
        yield "groups = ["
        if decayed:
            yield f'    {{"params": {_chosen(decayed)}, "weight_decay": {decay!r}}},'
        yield f'    {{"params": {_chosen(excluded)}, "weight_decay": 0.0}},'
        yield "]"
        groups = "groups"
    elif decay:
        settings += f", weight_decay={decay!r}"
    yield f"optimizer = {made}({', '.join([groups, settings, *more])})"
    yield from _resumed(case)
    if variant == "compiled":
        yield from ("torch._dynamo.reset()", "step = torch.compile(optimizer.step)")
    if case.loss_scaling is not None:
        yield 'scaler = torch.amp.GradScaler("cpu",'
        yield f"    init_scale={case.loss_scaling.initial_scale!r},"
        yield f"    growth_interval={case.loss_scaling.dynamic_growth_steps!r},"
        yield ")"
    if config.get("use_ema"):
        kind = ("avg_fn", "get_ema_avg_fn") if variant == "loop" else ("multi_avg_fn", "get_ema_multi_avg_fn")
        yield "model = torch.nn.ParameterList(parameters)"
        yield "utilities = torch.optim.swa_utils"
        yield f"average = utilities.{kind[1]}({config.get('ema_momentum', 0.99)!r})"
        yield f"averaged = utilities.AveragedModel(model, {kind[0]}=average)"
        yield from ("", "def copy_averages():", "    with torch.no_grad():")
        yield "        for parameter, average in zip(parameters, averaged.parameters()):"
        yield "            parameter.copy_(average)"
    yield from ("", "def record():", *_indented(_record(case)), "")


def _resumed(case: Case) -> Iterator[str]:
    if case.state is None:
        return
    rates: Any = case.learning_rate_calls
    rate = float(case.config["learning_rate"] if rates is None else rates[0])
    # PyTorch keeps sums of gradients, without the rate and its sign.
    yield "for parameter, velocity in zip(parameters, case.state.velocities):"
    yield f"    buffer = tensor(velocity / velocity.dtype.type({-rate!r}))"
    yield '    optimizer.state[parameter]["momentum_buffer"] = buffer'


def _chosen(positions: list[int]) -> str:
    return "[" + ", ".join(f"parameters[{position}]" for position in positions) + "]"


def _record(case: Case) -> Iterator[str]:
    yield 'state = {"variables": [array(parameter) for parameter in parameters]}'
    yield 'state |= {"iterations": updates, "calls": calls}'
    if case.config.get("use_ema"):
        yield "if averaged.n_averaged > 0:"
        yield '    state["averages"] = [array(parameter) for parameter in averaged.parameters()]'
    if case.loss_scaling is not None:
        yield 'state["loss_scale"] = np.float32(scaler.get_scale())'
        yield 'state["growth_counter"] = int(scaler.state_dict()["_growth_tracker"])'
    yield "return state"


def _call(case: Case, variant: str) -> Iterator[str]:
    steps = case.config.get("gradient_accumulation_steps")
    if case.learning_rate_calls is not None:
        # Before the rate of the call is set, nothing is updated or recorded.
        yield "rate = case.learning_rate_calls[len(trajectory)]"
        yield "for group in optimizer.param_groups:"
        is_tensor = variant == "compiled"
        yield '    group["lr"].fill_(rate)' if is_tensor else '    group["lr"] = rate'
    if case.loss_scaling is not None:
        yield "scaler.scale(torch.zeros(()))"
    yield 'learning_rate = float(optimizer.param_groups[0]["lr"])'
    yield "for parameter, gradient in zip(parameters, gradients):"
    yield "    if gradient is not None:"
    if steps is None:
        yield "        parameter.grad = tensor(gradient).to(parameter.dtype)"
    else:
        yield f"        share = tensor(gradient).to(parameter.dtype) / {steps}"
        yield "        parameter.grad = share if parameter.grad is None else parameter.grad + share"
    if steps is None:
        yield from _update(case, variant)
    else:
        yield f"if (calls + 1) % {steps}:"
        yield "    calls += 1"
        yield "else:"
        yield from _indented(_update(case, variant))
    yield 'trajectory.append({**record(), "learning_rate": learning_rate})'


def _update(case: Case, variant: str) -> Iterator[str]:
    config = case.config
    scale = config.get("loss_scale_factor")
    if scale is not None:
        yield "for parameter in parameters:"
        yield "    if parameter.grad is not None:"
        yield f"        parameter.grad.div_({scale!r})"
    clipping = list(_clipping(case, variant))
    if clipping and case.loss_scaling is not None:
        yield "scaler.unscale_(optimizer)"
    yield from clipping
    step = "step()" if variant == "compiled" else "optimizer.step()"
    if case.loss_scaling is None:
        yield from (step, "optimizer.zero_grad()", "calls += 1", "updates += 1", *_averaging(case))
        return
    yield "scale = scaler.get_scale()"
    if variant == "compiled":
        yield "optimizer.step = step"
    yield from ("scaler.step(optimizer)", "scaler.update()", "optimizer.zero_grad()")
    yield "if scaler.get_scale() >= scale:"
    yield from _indented(["calls += 1", "updates += 1", *_averaging(case)])


def _clipping(case: Case, variant: str) -> Iterator[str]:
    config = case.config
    foreach = {"loop": ", foreach=False", "foreach": ", foreach=True"}.get(variant, "")
    if config.get("clipnorm") is not None:
        yield "for parameter in parameters:"
        yield f"    torch.nn.utils.clip_grad_norm_(parameter, {config['clipnorm']!r}{foreach})"
    if config.get("clipvalue") is not None:
        yield f"torch.nn.utils.clip_grad_value_(parameters, {config['clipvalue']!r}{foreach})"
    if config.get("global_clipnorm") is not None:
        yield f"torch.nn.utils.clip_grad_norm_(parameters, {config['global_clipnorm']!r}{foreach})"


def _averaging(case: Case) -> Iterator[str]:
    if not case.config.get("use_ema"):
        return
    yield "averaged.update_parameters(model)"
    frequency = case.config.get("ema_overwrite_frequency")
    if frequency is not None:
        yield f"if updates % {frequency} == 0:"
        yield "    copy_averages()"


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"    {line}" if line else "" for line in lines]
