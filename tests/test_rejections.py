"""What is rejected: by which error, in which words, and that nothing has changed.

A row has a call, the error, and its message, in which "..." stands for anything. The message names the
argument, what was given and what is accepted. Settings, rates, weights, sparse gradients, configs and
finalisation have such rows in the tests of their own modules.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import scipy.sparse
from numpy.lib.stride_tricks import as_strided

import sgd_ref.base
from sgd_ref import SGD, LossScaleOptimizer, SparseRows

NAMES = ["dense/kernel", "bias", "scale", "empty", "table"]
FLOATS = "float16, bfloat16, float32, float64"


@dataclass
class Training:
    """An optimizer in mid-training and in mid-window, with everything on."""

    optimizer: Any
    variables: list[Any]
    gradients: list[Any]

    @classmethod
    def started(cls, scaled: bool) -> Training:
        inner = SGD(
            0.1,
            momentum=0.9,
            nesterov=True,
            weight_decay=0.01,
            clipnorm=1.0,
            use_ema=True,
            ema_overwrite_frequency=2,
            loss_scale_factor=None if scaled else 8.0,
            gradient_accumulation_steps=2,
        )
        optimizer: Any = LossScaleOptimizer(inner, 8.0, 3) if scaled else inner
        optimizer.exclude_from_weight_decay(var_names=["bias"])
        variables = [
            np.ones((3, 2), np.float32),
            np.ones(4, np.float16),
            np.ones(()),
            np.ones((0, 5), ml_dtypes.bfloat16),
            np.ones(6, ml_dtypes.bfloat16)[::2],
        ]
        gradients = [np.full(variable.shape, 0.7, variable.dtype) for variable in variables]
        optimizer.build(variables, NAMES)
        for _ in range(5):
            optimizer.apply(gradients)
        return cls(optimizer, variables, gradients)

    def apply(self, index: int, gradient: Any) -> None:
        """Make a call in which one gradient is another one."""
        self.optimizer.apply([*self.gradients[:index], gradient, *self.gradients[index + 1 :]])

    def apply_at_rate(self, rate: Any) -> None:
        """Make a call at another learning rate."""
        before = self.optimizer.learning_rate
        self.optimizer.learning_rate = rate
        try:
            self.optimizer.apply(self.gradients)
        finally:
            self.optimizer.learning_rate = before

    def apply_read_only(self, array: Any) -> None:
        """Make a call while an array is read-only."""
        array.flags.writeable = False
        try:
            self.optimizer.apply(self.gradients)
        finally:
            array.flags.writeable = True

    def apply_while_flushing(self) -> None:
        """Make a call as if subnormal numbers were flushed to zero."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sgd_ref.base, "flushes_subnormals", lambda: True)
            self.optimizer.apply(self.gradients)

    def everything(self) -> list[Any]:
        """All that must not change."""
        optimizer = self.optimizer
        return [
            [array.tobytes() for array in (*self.variables, *self.gradients, *optimizer.variables)],
            [optimizer.built, optimizer.calls, optimizer.iterations, optimizer.learning_rate],
            optimizer.variable_names,
            optimizer.get_config(),
        ]


def failing() -> float:
    raise LookupError("no rate today")


Row = tuple[Callable[[Training], Any], type[Exception], str]

KINDS = "gradients must be a list of ndarray, SparseRows, scipy.sparse arrays or None"
KIND = "gradients[0] must be an ndarray, SparseRows, a scipy.sparse array or None"
DTYPE = f"gradients[0] must have one of the dtypes {FLOATS}"
HOLDS = "gradients[0] must have a dtype that float32, the dtype of dense/kernel, holds exactly"
SHAPE = "gradients[0] must have the shape (3, 2) of dense/kernel"
ALIAS = "must not share memory with what is updated in place, got an array that overlaps"
KNOWN = "must be one of the 5 arrays that the optimizer was built with, got another one"
RATE = "the value returned by the callable learning_rate must be a real number that is finite in float32"
ROW = np.ones((1, 2), np.float32)

IN_TRAINING: list[Row] = [
    (lambda t: t.optimizer.apply(None), TypeError, f"{KINDS}, got None of type NoneType"),
    (lambda t: t.optimizer.apply(g for g in t.gradients), TypeError, f"{KINDS}, got <...> of type generator"),
    (lambda t: t.optimizer.apply(np.ones(5)), TypeError, f"{KINDS}, got array(...) of type ndarray"),
    (lambda t: t.optimizer.apply(dict(enumerate(t.gradients))), TypeError, f"{KINDS}, got ... of type dict"),
    (lambda t: t.optimizer.apply([]), ValueError, "gradients must have one entry for each of the 5 variables, got 0"),
    (lambda t: t.optimizer.apply([], []), ValueError, "gradients must hold at least one gradient, got None for every variable"),
    (lambda t: t.optimizer.apply(t.gradients[1:]), ValueError, "gradients must have one entry for each of the 5 variables, got 4"),
    (lambda t: t.optimizer.apply([*t.gradients, None]), ValueError, "gradients must have one entry for each of the 5 variables, got 6"),
    (lambda t: t.optimizer.apply([None] * 5), ValueError, "gradients must hold at least one gradient, got None for every variable"),
    (lambda t: t.apply(0, [[0.0, 0.0]] * 3), TypeError, f"{KIND}, got [[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]] of type list"),
    (lambda t: t.apply(0, 1.0), TypeError, f"{KIND}, got 1.0 of type float"),
    (lambda t: t.apply(0, "dense"), TypeError, f"{KIND}, got 'dense' of type str"),
    (lambda t: t.apply(0, np.ma.masked_array(t.gradients[0])), TypeError, f"{KIND}, got masked_array(...) of type MaskedArray"),
    (lambda t: t.apply(2, 1.0), TypeError, "gradients[2] must be ..., got 1.0 of type float"),
    (lambda t: t.apply(0, np.ones((3, 2), np.int32)), TypeError, f"{DTYPE}, got int32"),
    (lambda t: t.apply(0, np.ones((3, 2), np.bool_)), TypeError, f"{DTYPE}, got bool"),
    (lambda t: t.apply(0, np.ones((3, 2), np.complex64)), TypeError, f"{DTYPE}, got complex64"),
    (lambda t: t.apply(0, np.ones((3, 2), object)), TypeError, f"{DTYPE}, got object"),
    (lambda t: t.apply(0, np.ones((3, 2), ">f4")), TypeError, f"{DTYPE}, got >f4"),
    (lambda t: t.apply(0, np.ones((3, 2), np.longdouble)), TypeError, f"{DTYPE}, got ..."),
    (lambda t: t.apply(0, np.ones((3, 2), ml_dtypes.float8_e4m3)), TypeError, f"{DTYPE}, got float8_e4m3"),
    (lambda t: t.apply(0, scipy.sparse.coo_array(np.ones((3, 2), int))), TypeError, f"{DTYPE}, got int64"),
    (lambda t: t.apply(0, SparseRows([0], ROW.astype(int), (3, 2))), TypeError, f"{DTYPE}, got int64"),
    (lambda t: t.apply(0, np.ones((3, 2))), TypeError, f"{HOLDS}, got float64"),
    (lambda t: t.apply(0, SparseRows([0], ROW.astype(float), (3, 2))), TypeError, f"{HOLDS}, got float64"),
    (lambda t: t.apply(0, scipy.sparse.csr_array(np.ones((3, 2)))), TypeError, f"{HOLDS}, got float64"),
    (lambda t: t.apply(1, np.ones(4, ml_dtypes.bfloat16)), TypeError, "gradients[1] must have a dtype that float16, the dtype of bias, holds exactly, got bfloat16"),
    (lambda t: t.apply(4, np.ones(3, np.float16)), TypeError, "gradients[4] must have a dtype that bfloat16, the dtype of table, holds exactly, got float16"),
    (lambda t: t.apply(0, np.ones((2, 3), np.float32)), ValueError, f"{SHAPE}, got (2, 3)"),
    (lambda t: t.apply(0, np.ones(6, np.float32)), ValueError, f"{SHAPE}, got (6,)"),
    (lambda t: t.apply(0, np.ones((3, 2, 1), np.float32)), ValueError, f"{SHAPE}, got (3, 2, 1)"),
    (lambda t: t.apply(0, np.float32(1)), ValueError, f"{SHAPE}, got ()"),
    (lambda t: t.apply(0, SparseRows([0], ROW, (4, 2))), ValueError, f"{SHAPE}, got (4, 2)"),
    (lambda t: t.apply(0, scipy.sparse.coo_array(ROW)), ValueError, f"{SHAPE}, got (1, 2)"),
    (lambda t: t.apply(3, np.ones((5, 0), np.float16)), TypeError, "gradients[3] must have a dtype that bfloat16, ..., got float16"),
    (lambda t: t.apply(0, t.variables[0]), ValueError, f"gradients[0] {ALIAS} dense/kernel"),
    (lambda t: t.apply(0, t.variables[0][::-1]), ValueError, f"gradients[0] {ALIAS} dense/kernel"),
    (lambda t: t.apply(2, t.variables[0][2, 1:].reshape(())), ValueError, f"gradients[2] {ALIAS} dense/kernel"),
    (lambda t: t.apply(4, t.variables[4].base[2:5]), ValueError, f"gradients[4] {ALIAS} table"),
    (lambda t: t.apply(0, t.optimizer.velocities[0]), ValueError, f"gradients[0] {ALIAS} the velocity of dense/kernel"),
    (lambda t: t.apply(1, t.optimizer.averages[1]), ValueError, f"gradients[1] {ALIAS} the average of bias"),
    (lambda t: t.apply(4, t.optimizer.accumulators[4]), ValueError, f"gradients[4] {ALIAS} the accumulator of table"),
    (lambda t: t.apply(0, SparseRows([0], t.variables[0][:1], (3, 2))), ValueError, f"gradients[0] {ALIAS} dense/kernel"),
    (lambda t: t.apply(0, scipy.sparse.coo_array((t.variables[0][:, 0], ([0, 1, 2], [0, 0, 0])), (3, 2), copy=False)), ValueError, f"gradients[0] {ALIAS} dense/kernel"),
    (lambda t: t.optimizer.apply(t.gradients[:1], np.ones((1, 2))), TypeError, "variables must be a list of ndarrays, got array(...) of type ndarray"),
    (lambda t: t.optimizer.apply(t.gradients, iter(t.variables)), TypeError, "variables must be a list of ndarrays, got <...> of type list_iterator"),
    (lambda t: t.optimizer.apply(t.gradients[:1], [1.0]), TypeError, "variables[0] must be an ndarray, got 1.0 of type float"),
    (lambda t: t.optimizer.apply(t.gradients[:1], [t.variables[0].copy()]), ValueError, f"variables[0] {KNOWN} of shape (3, 2) and dtype float32"),
    (lambda t: t.optimizer.apply(t.gradients[:1], [t.variables[0][:2]]), ValueError, f"variables[0] {KNOWN} of shape (2, 2) and dtype float32"),
    (lambda t: t.optimizer.apply(t.gradients[:2], [t.variables[0], t.variables[0]]), ValueError, "variables must hold each array once, got the same one as variables[0] and variables[1]"),
    (lambda t: t.optimizer.apply(t.gradients[:2], [t.variables[0], t.variables[0][:]]), ValueError, "variables must hold each array once, got the same one as variables[0] and variables[1]"),
    (lambda t: t.optimizer.apply(t.gradients, t.variables[:4]), ValueError, "gradients must have one entry for each of the 4 variables, got 5"),
    (lambda t: t.optimizer.apply(t.gradients, t.variables[::-1]), TypeError, "gradients[0] must have a dtype that bfloat16, the dtype of table, holds exactly, got float32"),
    (lambda t: t.apply_read_only(t.variables[1]), ValueError, "bias must be writable, since it is updated in place, got a read-only array"),
    (lambda t: t.apply_read_only(t.optimizer.averages[1]), ValueError, "the average of bias must be writable, since it is updated in place, got a read-only array"),
    (lambda t: t.apply_while_flushing(), RuntimeError, "this thread flushes subnormal numbers to zero, ..."),
    (lambda t: t.apply_at_rate(failing), LookupError, "no rate today"),
    (lambda t: t.apply_at_rate(lambda: "0.1"), TypeError, f"{RATE}, got '0.1' of type str"),
    (lambda t: t.apply_at_rate(lambda: None), TypeError, f"{RATE}, got None of type NoneType"),
    (lambda t: t.apply_at_rate(lambda: np.ones(1)), TypeError, f"{RATE}, got array([1.]) of type ndarray"),
    (lambda t: t.apply_at_rate(lambda: float("nan")), ValueError, f"{RATE}, got nan"),
    (lambda t: t.apply_at_rate(lambda: 1e39), ValueError, f"{RATE}, got 1e+39"),
    (lambda t: setattr(t.optimizer, "learning_rate", float), TypeError, "learning_rate must be ..., a schedule or a callable, got <class 'float'> of type type"),
    (lambda t: setattr(t.optimizer, "name", "b"), AttributeError, "name is fixed when the optimizer is constructed, got 'b'; only learning_rate can be set"),
    (lambda t: setattr(t.optimizer, "calls", 0), AttributeError, "...calls..."),
    (lambda t: t.optimizer.build(None), TypeError, "variables must be a list of ndarrays, got None of type NoneType"),
    (lambda t: t.optimizer.build(iter(t.variables)), TypeError, "variables must be a list of ndarrays, got <...> of type list_iterator"),
    (lambda t: t.optimizer.build([np.ones(2)]), ValueError, f"variables[0] {KNOWN} of shape (2,) and dtype float64"),
    (lambda t: t.optimizer.build(t.variables[:4]), ValueError, "variables must be the 5 arrays that the optimizer was built with, in that order, got ..."),
    (lambda t: t.optimizer.build(t.variables[::-1]), ValueError, "variables must be the 5 arrays that the optimizer was built with, in that order, got ..."),
    (lambda t: t.optimizer.build(t.variables, ["a", "b", "c", "d", "e"]), ValueError, f"names must be those that the optimizer was built with, {NAMES}, got ['a', 'b', 'c', 'd', 'e']"),
    (lambda t: t.optimizer.build(t.variables, NAMES[:4]), ValueError, "names must have one entry for each of the 5 variables, got 4"),
    (lambda t: t.optimizer.exclude_from_weight_decay([t.variables[0]]), RuntimeError, "exclude_from_weight_decay must be called before the optimizer is built"),
    (lambda t: t.optimizer.set_weights([]), ValueError, "values must hold ... arrays, got 0"),
    (lambda t: t.optimizer.finalize_variable_values(t.variables[:4]), ValueError, "variables must be all 5 arrays that the optimizer was built with, got 4"),
    (lambda t: t.optimizer.finalize_variable_values(None), TypeError, "variables must be a list of ndarrays, got None of type NoneType"),
    (lambda t: t.optimizer.scale_loss(np.array([1, 2])), TypeError, f"loss must have one of the dtypes {FLOATS}, got int64"),
    (lambda t: LossScaleOptimizer(t.optimizer), (TypeError, ValueError), "inner_optimizer must ..., got ..."),
]  # fmt: skip


def matches(error: pytest.ExceptionInfo[Exception], message: str) -> bool:
    pattern = ".*".join(re.escape(part) for part in message.split("..."))
    return re.fullmatch(pattern, str(error.value), re.DOTALL) is not None


@pytest.mark.parametrize("scaled", [False, True], ids=["SGD", "scaled"])
@pytest.mark.parametrize(("act", "error", "message"), IN_TRAINING)
def test_in_mid_training(
    act: Callable[[Training], Any], error: type[Exception], message: str, scaled: bool
) -> None:
    training, undisturbed = Training.started(scaled), Training.started(scaled)
    with pytest.raises(error) as caught:
        act(training)
    assert matches(caught, message), str(caught.value)
    for _ in range(3):
        assert training.everything() == undisturbed.everything()
        training.optimizer.apply(training.gradients)
        undisturbed.optimizer.apply(undisturbed.gradients)
