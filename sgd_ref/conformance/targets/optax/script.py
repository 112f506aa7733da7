"""The code with which a script runs Optax: the transformations that a user would chain for one case."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sgd_ref.arithmetic.formats import FLOAT64
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.targets.optax.launch import ENVIRONMENT
from sgd_ref.conformance.targets.scripts import by_the_kit as worker
from sgd_ref.conformance.targets.scripts import own

OWN = ("momentum", "nesterov", "weight_decay", "clipnorm", "clipvalue", "global_clipnorm")
"""The settings that an optimizer of the user is given, besides the rate."""


def how_to_run(case: Case, mode: str, optimizer: str | None = None) -> str:
    """Return the code that defines ``run(case)`` for Optax.

    Parameters
    ----------
    case : Case
        The case to run; the code covers only the features of this case. With a schedule, or a state of more
        than velocities, the code uses this package.
    mode : {"eager", "jitted"}
        As for ``targets.optax.launch.Optax``.
    optimizer : str, optional
        ``module:function`` that returns another transformation. It is called with `learning_rate`, and with
        those of `momentum`, `nesterov`, `weight_decay`, `clipnorm`, `clipvalue` and `global_clipnorm` that
        are on.

    Examples
    --------
    >>> import numpy as np
    >>> config = {"learning_rate": 0.5, "momentum": 0.25}
    >>> case = Case("a", config, ("w",), (np.ones(2, "f4"),), ((np.ones(2, "f4"),),))
    >>> print(next(line for line in how_to_run(case, "eager").splitlines() if "sgd" in line))
        optimizer = optax.sgd(0.5, 0.25, False)
    """
    if isinstance(case.config.get("learning_rate"), dict):
        return worker.how_to_run("optax", mode, "The schedule is that of the kit.")
    if case.state is not None and not worker.resumes_velocities_alone(case):
        return worker.how_to_run("optax", mode, "The state is converted by the kit.")
    lines = ["import os", ""]
    lines += [f'os.environ["{name}"] = "{value}"' for name, value in ENVIRONMENT.items()]
    lines += ["", "import jax", "import jax.numpy as jnp", "import optax"]
    if any(array.dtype == FLOAT64 for array in case.variables):
        lines += ["", 'jax.config.update("jax_enable_x64", True)']
    lines += ["", *([] if optimizer is None else own.imported(optimizer).splitlines())]
    lines += ["", "def run(case):"]
    body = ["variables = [jnp.asarray(value) for value in case.variables]"]
    body += [*_optimizer(case, optimizer is not None), "state = optimizer.init(variables)"]
    body += [*_resumed(case), "", *_advance(case, mode), *_loop(case)]
    return "\n".join([*lines, *(f"    {line}" if line else "" for line in [*body, "return trajectory"])])


def _resumed(case: Case) -> Iterator[str]:
    if case.state is None:
        return
    rates: Any = case.learning_rate_calls
    rate = float(case.config["learning_rate"] if rates is None else rates[0])
    # Optax keeps sums of gradients, without the rate and its sign.
    divided = f"jnp.asarray(velocity / velocity.dtype.type({-rate!r}))"
    yield f"trace = [{divided} for velocity in case.state.velocities]"
    yield "state = optax.tree.set(state, trace=trace)"
    if rates is not None:
        yield f"state = optax.tree.set(state, count=jnp.asarray({case.state.calls}, jnp.int32))"


def _optimizer(case: Case, is_own: bool) -> Iterator[str]:
    config = case.config
    momentum, nesterov = config.get("momentum") or None, bool(config.get("nesterov"))
    rate = "learning_rate" if case.learning_rate_calls else repr(float(config.get("learning_rate") or 0.0))
    descent = f"optax.sgd({rate}, {momentum!r}, {nesterov!r})"
    decay = config.get("weight_decay")
    if decay is not None:
        patterns = case.excluded_from_weight_decay
        mask = [not any(part in name for part in patterns) for name in case.names]
        # Decay comes after the trace, so that it never enters the velocity.
        parts = [] if momentum is None else [f"optax.trace({momentum!r}, {nesterov!r})"]
        parts += [f"optax.add_decayed_weights({decay!r}, {mask!r})", f"optax.scale_by_learning_rate({rate})"]
        descent = f"optax.chain({', '.join(parts)})"
    if is_own:
        given = {name: config.get(name) for name in OWN if config.get(name)}
        settings = [f"{name}={value!r}" for name, value in given.items()]
        descent = f"{own.NAME}({', '.join([f'learning_rate={rate}', *settings])})"
    if case.learning_rate_calls:
        yield "def descent(learning_rate):"
        yield f"    return {descent}"
        yield ""
        first = float(case.learning_rate_calls[0])
        yield f"optimizer = optax.inject_hyperparams(descent)(learning_rate={first!r})"
    else:
        yield f"optimizer = {descent}"
    clipping = None if is_own else _clipping(case)
    if clipping is not None:
        yield f"optimizer = optax.chain({clipping}, optimizer)"
    steps = config.get("gradient_accumulation_steps")
    if steps is not None:
        yield f"optimizer = optax.MultiSteps(optimizer, every_k_schedule={steps})"


def _clipping(case: Case) -> str | None:
    config = case.config
    if config.get("clipvalue") is not None:
        return f"optax.clip({config['clipvalue']!r})"
    if config.get("global_clipnorm") is not None:
        return f"optax.clip_by_global_norm({config['global_clipnorm']!r})"
    if config.get("clipnorm") is not None:
        labels = list(range(len(case.variables)))
        parts = ", ".join(f"{label}: optax.clip_by_global_norm({config['clipnorm']!r})" for label in labels)
        return f"optax.partition({{{parts}}}, {labels})"
    return None


def _advance(case: Case, mode: str) -> Iterator[str]:
    config = case.config
    yield "def advance(variables, state, averages, gradients, averaging):"
    scale = config.get("loss_scale_factor")
    if scale is not None:
        yield f"    gradients = jax.tree.map(lambda gradient: gradient / {scale!r}, gradients)"
    yield "    updates, state = optimizer.update(gradients, state, variables)"
    yield "    variables = optax.apply_updates(variables, updates)"
    if config.get("use_ema"):
        yield '    if averaging == "first":'
        yield "        averages = variables"
        yield '    elif averaging == "later":'
        momentum = config.get("ema_momentum", 0.99)
        yield f"        averages = optax.incremental_update(variables, averages, 1 - {momentum!r})"
    yield "    return variables, state, averages"
    yield ""
    if mode == "jitted":
        yield 'advance = jax.jit(advance, static_argnames="averaging")'


def _loop(case: Case) -> Iterator[str]:
    config = case.config
    steps = config.get("gradient_accumulation_steps") or 1
    yield "trajectory, averages = [], []"
    yield "for call, gradients in enumerate(case.gradients):"
    if case.learning_rate_calls:
        yield "    rate = case.learning_rate_calls[call]"
        yield '    kept = optax.tree.get(state, "learning_rate")'
        yield "    state = optax.tree.set(state, learning_rate=jnp.asarray(rate, kept.dtype))"
    else:
        yield f"    rate = {float(config.get('learning_rate') or 0.0)!r}"
    yield "    pairs = zip(gradients, variables)"
    yield "    native = [jnp.asarray(gradient, variable.dtype) for gradient, variable in pairs]"
    yield '    averaging = "none"'
    if config.get("use_ema"):
        due = "" if steps == 1 else f"if (call + 1) % {steps} == 0:"
        indent = "    " if steps == 1 else "        "
        if due:
            yield f"    {due}"
        yield f'{indent}averaging = "later" if averages else "first"'
    yield "    variables, state, averages = advance(variables, state, averages, native, averaging=averaging)"
    frequency = config.get("ema_overwrite_frequency")
    if config.get("use_ema") and frequency is not None:
        yield f'    if averaging != "none" and (call + 1) // {steps} % {frequency} == 0:'
        yield "        variables = averages"
    yield '    record = {"variables": [np.array(variable) for variable in variables], "learning_rate": rate}'
    if config.get("use_ema"):
        yield "    if averages:"
        yield '        record["averages"] = [np.array(average) for average in averages]'
    if config.get("gradient_accumulation_steps") is not None:
        yield '    record["iterations"] = int(state.gradient_step)'
        yield f'    record["calls"] = record["iterations"] * {steps} + int(state.mini_step)'
    elif case.learning_rate_calls:
        yield '    record["iterations"] = record["calls"] = int(optax.tree.get(state, "count"))'
    yield "    trajectory.append(record)"
    if case.finalize and config.get("use_ema"):
        # Without an update there are no averages.
        yield "variables = averages or variables"
        yield 'final = {**record, "variables": [np.array(variable) for variable in variables]}'
        yield 'del final["learning_rate"]'
        yield "trajectory.append(final)"
