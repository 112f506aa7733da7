"""The code with which a script runs Keras, as a user would write it for the features of one case."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sgd_ref.arithmetic.formats import FLOAT64
from sgd_ref.conformance.catalogue.case import Case, State
from sgd_ref.conformance.targets.keras.launch import ENVIRONMENT
from sgd_ref.conformance.targets.scripts import own
from sgd_ref.gradients import SparseRows
from sgd_ref.optimizer import SGD

DEFAULTS = SGD().get_config()

# The environment variables, among those that the kit sets for Keras, that each backend reads.
HEEDED = {
    "jax": ("CUDA_VISIBLE_DEVICES", "JAX_PLATFORMS", "KERAS_NNX_ENABLED"),
    "tensorflow": ("CUDA_VISIBLE_DEVICES", "TF_CPP_MIN_LOG_LEVEL"),
    "torch": ("CUDA_VISIBLE_DEVICES", "KERAS_TORCH_DEVICE"),
}

# Before Keras counted updates and calls apart, there was one count.
COUNT = 'getattr(optimizer, "_iterations", optimizer.iterations)'

COMPILED = {
    "jax": """
    stateless_apply = jax.jit({optimizer}.stateless_apply)

    def apply(gradients):
        state = [variable.value for variable in {optimizer}.variables]
        values, state = stateless_apply(state, gradients, [variable.value for variable in variables])
        for variable, value in zip([*variables, *{optimizer}.variables], [*values, *state]):
            variable.assign(value)
""",
    "tensorflow": """
    @tf.function(reduce_retracing=True, jit_compile=False, autograph=False)
    def apply(gradients):
        {optimizer}.apply(gradients, variables)
""",
}


def how_to_run(case: Case, backend: str, mode: str, optimizer: str | None = None) -> str:
    """Return the code that defines ``run(case)`` for ``keras.optimizers.SGD``.

    Parameters
    ----------
    case : Case
        The case to run; the code covers only the features of this case.
    backend : {"jax", "tensorflow", "torch"}
    mode : {"eager", "compiled"}
        As for ``targets.keras.launch.Keras``.
    optimizer : str, optional
        ``module:class`` of another optimizer of Keras, which takes the same settings.

    Raises
    ------
    ValueError
        If the case has sparse gradients and the backend does not, or if `mode` is "compiled" on PyTorch.

    Examples
    --------
    >>> import numpy as np
    >>> config = {"learning_rate": 0.5, "momentum": 0.25}
    >>> case = Case("a", config, ("w",), (np.ones(2, "f4"),), ((np.ones(2, "f4"),),))
    >>> print(next(line for line in how_to_run(case, "jax", "eager").splitlines() if "SGD" in line))
        optimizer = keras.optimizers.SGD(learning_rate=0.5, momentum=0.25)
    """
    if mode == "compiled" and backend not in COMPILED:
        raise ValueError(f"mode must be eager with the backend {backend}, got {mode!r}")
    made = "keras.optimizers.SGD" if optimizer is None else own.NAME
    imports = [] if optimizer is None else ["", *own.imported(optimizer).splitlines()]
    lines = [*_imports(case, backend, mode), *imports, *_helpers(case, backend), "", "def run(case):"]
    body = [*_variables(case), *_optimizer(case, made), *_resumed(case)]
    body += _applied(case, backend, mode)
    if backend == "torch":
        # As in fit(), the update is not recorded for differentiation.
        body = ["with torch.no_grad():", *(f"    {line}" if line else "" for line in body)]
    return "\n".join([*lines, *(f"    {line}" if line else "" for line in body), "    return trajectory"])


def _imports(case: Case, backend: str, mode: str) -> Iterator[str]:
    yield "import os\n"
    yield f'os.environ["KERAS_BACKEND"] = "{backend}"'
    yield from (f'os.environ["{name}"] = "{ENVIRONMENT[name]}"' for name in HEEDED[backend])
    yield ""
    has_float64 = any(array.dtype == FLOAT64 for array in case.variables)
    if backend == "jax" and (has_float64 or mode == "compiled"):
        yield "import jax"
    if backend == "tensorflow" and (_has_sparse_rows(case) or mode == "compiled"):
        yield "import tensorflow as tf"
    if backend == "torch":
        yield "import torch"
    yield "import keras\n"
    yield 'keras.config.set_floatx("float32")'
    if backend == "jax" and has_float64:
        yield 'jax.config.update("jax_enable_x64", True)'


def _has_sparse_rows(case: Case) -> bool:
    return any(isinstance(gradient, SparseRows) for call in case.gradients for gradient in call)


def _helpers(case: Case, backend: str) -> Iterator[str]:
    yield "\n\ndef array(tensor):"
    yield "    return np.array(keras.ops.convert_to_numpy(tensor))\n"
    if _has_sparse_rows(case):
        if backend != "tensorflow":
            raise ValueError(f"case must have no sparse gradients for the backend {backend}, got {case.id}")
        yield "\ndef tensor(gradient):"
        yield "    if isinstance(gradient, SparseRows):"
        yield "        indices, shape = tf.constant(gradient.indices), tf.constant(gradient.shape, 'int64')"
        yield "        return tf.IndexedSlices(tf.constant(gradient.values), indices, shape)"
    else:
        yield "\ndef tensor(gradient):"
    yield "    return None if gradient is None else keras.ops.convert_to_tensor(gradient)\n"


def _variables(case: Case) -> Iterator[str]:
    yield "variables = []"
    for position, (name, value) in enumerate(zip(case.names, case.variables, strict=True)):
        *layers, last = name.split("/")
        variable = f'keras.Variable(case.variables[{position}], dtype="{value.dtype.name}", name={last!r})'
        for depth, layer in enumerate(layers):
            yield "    " * depth + f"with keras.name_scope({layer!r}):"
        yield "    " * len(layers) + f"variables.append({variable})"


def _optimizer(case: Case, made: str) -> Iterator[str]:
    given = {key: value for key, value in case.config.items() if value != DEFAULTS[key]}
    if not case.config.get("use_ema"):
        given.pop("ema_momentum", None)
    if not case.config.get("momentum"):
        given.pop("nesterov", None)
    settings = ", ".join(f"{key}={_setting(key, value)}" for key, value in given.items())
    if case.learning_rate_calls is not None:
        yield "given_rate = []"
    yield f"optimizer = {made}({settings})"
    if case.excluded_from_weight_decay:
        yield f"optimizer.exclude_from_weight_decay(var_names={list(case.excluded_from_weight_decay)!r})"
    if case.loss_scaling is not None:
        yield "scaled = keras.optimizers.LossScaleOptimizer("
        yield f"    optimizer, initial_scale={float(case.loss_scaling.initial_scale)!r},"
        yield f"    dynamic_growth_steps={case.loss_scaling.dynamic_growth_steps!r},"
        yield ")"
    yield f"{_outermost(case)}.build(variables)"


def _setting(key: str, value: Any) -> str:
    if key == "learning_rate" and value is None:
        return "lambda: given_rate[-1]"
    if key == "learning_rate" and isinstance(value, dict):
        settings = ", ".join(f"{name}={setting!r}" for name, setting in value["config"].items())
        return f"keras.optimizers.schedules.{value['class_name']}({settings})"
    # Keras refuses integers here.
    return repr(float(value) if key in ("learning_rate", "momentum") else value)


def _resumed(case: Case) -> Iterator[str]:
    state: State | None = case.state
    if state is None:
        return
    yield f"{COUNT}.assign(case.state.calls)"
    for kept, given in (
        ("momentums", "velocities"),
        ("_model_variables_moving_average", "averages"),
        ("_accumulated_gradients", "accumulators"),
    ):
        if getattr(state, given):
            yield f"for variable, value in zip(optimizer.{kept}, case.state.{given}):"
            yield "    variable.assign(value)"
    if state.loss_scale is not None:
        yield "scaled.dynamic_scale.assign(case.state.loss_scale)"
    if state.growth_counter is not None:
        yield "scaled.step_counter.assign(case.state.growth_counter)"


def _applied(case: Case, backend: str, mode: str) -> Iterator[str]:
    if mode == "compiled":
        code = COMPILED[backend].format(optimizer=_outermost(case))
        yield from (line.removeprefix("    ") for line in code.splitlines())
    yield from ["", "def record():", "    return {"]
    yield from (f"        {line}," for line in _record(case))
    yield from ["    }", "", "trajectory = []"]
    if case.learning_rate_calls is None:
        yield "for gradients in case.gradients:"
        # Compiled code reads a schedule at the place of use, and does not show the value.
        is_hidden = mode == "compiled" and isinstance(case.config.get("learning_rate"), dict)
        rate = None if is_hidden else "array(optimizer.learning_rate)"
    else:
        yield "for gradients, rate in zip(case.gradients, case.learning_rate_calls):"
        yield "    given_rate.append(rate)"
        rate = "rate"
    if rate is not None:
        yield f"    learning_rate = {rate}"
    native = "[tensor(gradient) for gradient in gradients]"
    is_compiled = mode == "compiled"
    yield f"    apply({native})" if is_compiled else f"    {_outermost(case)}.apply({native}, variables)"
    given = "record()" if rate is None else '{**record(), "learning_rate": learning_rate}'
    yield f"    trajectory.append({given})"
    if case.finalize:
        yield f"{_outermost(case)}.finalize_variable_values(variables)"
        yield "trajectory.append(record())"


def _record(case: Case) -> Iterator[str]:
    yield '"variables": [array(variable) for variable in variables]'
    for quantity, kept, setting in (
        ("velocities", "momentums", "momentum"),
        ("averages", "_model_variables_moving_average", "use_ema"),
        ("accumulators", "_accumulated_gradients", "gradient_accumulation_steps"),
    ):
        if case.config.get(setting):
            yield f'"{quantity}": [array(variable) for variable in optimizer.{kept}]'
    yield f'"iterations": int(array({_outermost(case)}.iterations))'
    yield f'"calls": int(array({COUNT}))'
    if case.loss_scaling is not None:
        yield '"loss_scale": array(scaled.dynamic_scale)'
        yield '"growth_counter": int(array(scaled.step_counter))'


def _outermost(case: Case) -> str:
    return "optimizer" if case.loss_scaling is None else "scaled"
