"""What is rejected: by which error, in which words, and that nothing has changed.

A message names the argument, what was given and what is accepted; in the tables, "..." stands for
anything. Building, settings, rates, weights, sparse gradients, configs and finalisation have such tables
in the tests of their own modules.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import scipy.sparse

import sgd_ref.base.optimizer
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

    def everything(self) -> list[Any]:
        """All that must not change."""
        optimizer = self.optimizer
        return [
            [array.tobytes() for array in (*self.variables, *self.gradients, *optimizer.variables)],
            [optimizer.built, optimizer.calls, optimizer.iterations, optimizer.learning_rate],
            optimizer.variable_names,
            optimizer.get_config(),
        ]


def matches(error: BaseException, message: str) -> bool:
    pattern = ".*".join(re.escape(part) for part in message.split("..."))
    return re.fullmatch(pattern, str(error), re.DOTALL) is not None


@contextmanager
def nothing_changes(scaled: bool) -> Iterator[Training]:
    """Compare an optimizer with one to which nothing happens, then, and in the calls that follow."""
    training, undisturbed = Training.started(scaled), Training.started(scaled)
    yield training
    for _ in range(3):
        assert training.everything() == undisturbed.everything()
        training.optimizer.apply(training.gradients)
        undisturbed.optimizer.apply(undisturbed.gradients)


both = pytest.mark.parametrize("scaled", [False, True], ids=["SGD", "scaled"])

KIND = "gradients[0] must be an ndarray, SparseRows, a scipy.sparse array or None"
DTYPE = f"gradients[0] must have one of the dtypes {FLOATS}"
HOLDS = "gradients[0] must have a dtype that float32, the dtype of dense/kernel, holds exactly"
SHAPE = "gradients[0] must have the shape (3, 2) of dense/kernel"
ROW = np.ones((1, 2), np.float32)
COORDINATES = ([0, 1, 2], [0, 0, 0])

GRADIENTS: list[tuple[int, Any, type[Exception], str]] = [
    (0, [[0.0, 0.0]], TypeError, f"{KIND}, got [[0.0, 0.0]] of type list"),
    (0, 1.0, TypeError, f"{KIND}, got 1.0 of type float"),
    (0, "dense", TypeError, f"{KIND}, got 'dense' of type str"),
    (0, np.ma.masked_array(ROW), TypeError, f"{KIND}, got masked_array(...) of type MaskedArray"),
    (2, 1.0, TypeError, "gradients[2] must be an ndarray, ..., got 1.0 of type float"),
    (0, np.ones((3, 2), np.int32), TypeError, f"{DTYPE}, got int32"),
    (0, np.ones((3, 2), np.bool_), TypeError, f"{DTYPE}, got bool"),
    (0, np.ones((3, 2), np.complex64), TypeError, f"{DTYPE}, got complex64"),
    (0, np.ones((3, 2), object), TypeError, f"{DTYPE}, got object"),
    (0, np.ones((3, 2), ">f4"), TypeError, f"{DTYPE}, got >f4"),
    (0, np.ones((3, 2), "f4,f4"), TypeError, f"{DTYPE}, got [...]"),
    (0, np.ones((3, 2), np.longdouble), TypeError, f"{DTYPE}, got {np.dtype(np.longdouble)}"),
    (0, np.ones((3, 2), ml_dtypes.float8_e4m3), TypeError, f"{DTYPE}, got float8_e4m3"),
    (0, scipy.sparse.coo_array(np.ones((3, 2), int)), TypeError, f"{DTYPE}, got int64"),
    (0, SparseRows([0], ROW.astype(int), (3, 2)), TypeError, f"{DTYPE}, got int64"),
    (0, np.ones((3, 2)), TypeError, f"{HOLDS}, got float64"),
    (0, np.float64(1), TypeError, f"{HOLDS}, got float64"),
    (0, SparseRows([0], ROW.astype(float), (3, 2)), TypeError, f"{HOLDS}, got float64"),
    (0, scipy.sparse.csr_array(np.ones((3, 2))), TypeError, f"{HOLDS}, got float64"),
    (
        1,
        np.ones(4, ml_dtypes.bfloat16),
        TypeError,
        "gradients[1] must ... float16, ... bias, ..., got bfloat16",
    ),
    (4, np.ones(3, np.float16), TypeError, "gradients[4] must ... bfloat16, ... table, ..., got float16"),
    (0, np.ones((2, 3), np.float32), ValueError, f"{SHAPE}, got (2, 3)"),
    (0, np.ones(6, np.float32), ValueError, f"{SHAPE}, got (6,)"),
    (0, np.ones((3, 2, 1), np.float32), ValueError, f"{SHAPE}, got (3, 2, 1)"),
    (0, np.float32(1), ValueError, f"{SHAPE}, got ()"),
    (0, SparseRows([0], ROW, (4, 2)), ValueError, f"{SHAPE}, got (4, 2)"),
    (0, scipy.sparse.coo_array(ROW), ValueError, f"{SHAPE}, got (1, 2)"),
    (3, np.ones((5, 0), ml_dtypes.bfloat16), ValueError, "gradients[3] must ... (0, 5) of empty, got (5, 0)"),
]


@both
@pytest.mark.parametrize(("index", "gradient", "error", "message"), GRADIENTS)
def test_one_gradient(index: int, gradient: Any, error: type[Exception], message: str, scaled: bool) -> None:
    with nothing_changes(scaled) as training:
        with pytest.raises(error) as caught:
            training.apply(index, gradient)
        assert matches(caught.value, message), str(caught.value)


@both
@pytest.mark.parametrize(
    ("index", "alias", "owner"),
    [
        (0, lambda training: training.variables[0], "dense/kernel"),
        (0, lambda training: training.variables[0][::-1], "dense/kernel"),
        (2, lambda training: training.variables[0][2, 1:].reshape(()), "dense/kernel"),
        (4, lambda training: training.variables[4].base[2:5], "table"),
        (0, lambda training: training.optimizer.velocities[0], "the velocity of dense/kernel"),
        (1, lambda training: training.optimizer.averages[1], "the average of bias"),
        (4, lambda training: training.optimizer.accumulators[4], "the accumulator of table"),
        (0, lambda training: SparseRows([2], training.variables[0][:1], (3, 2)), "dense/kernel"),
        (
            0,
            lambda training: scipy.sparse.coo_array((training.variables[0][:, 1], COORDINATES), (3, 2)),
            "dense/kernel",
        ),
    ],
)
def test_a_gradient_in_memory_that_is_updated(
    index: int, alias: Callable[[Training], Any], owner: str, scaled: bool
) -> None:
    accepted = "must not share memory with what is updated in place"
    expected = f"gradients[{index}] {accepted}, got an array that overlaps {owner}"
    with nothing_changes(scaled) as training:
        gradient = alias(training)
        with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
            training.apply(index, gradient)


def test_a_gradient_that_lies_between_the_elements_of_a_variable_is_accepted() -> None:
    training, undisturbed = Training.started(scaled=False), Training.started(scaled=False)
    between = training.variables[4].base[1::2]
    between[...] = undisturbed.gradients[4]
    training.apply(4, between)
    undisturbed.optimizer.apply(undisturbed.gradients)
    assert training.everything() == undisturbed.everything()


GRADIENT_LIST = "gradients must be a list of ndarray, SparseRows, scipy.sparse arrays or None"
COUNT = "gradients must have one entry for each of the 5 variables"
NONE = "gradients must hold at least one gradient, got None for every variable"
LIST = "variables must be a list of ndarrays"
KNOWN = "variables[0] must be one of the 5 arrays that the optimizer was built with, got another one"
TWICE = "variables must hold each array once, got the same one as variables[0] and variables[1]"

CALLS: list[tuple[Callable[[list[Any], list[Any]], tuple[Any, ...]], type[Exception], str]] = [
    (lambda g, w: (None,), TypeError, f"{GRADIENT_LIST}, got None of type NoneType"),
    (lambda g, w: ((each for each in g),), TypeError, f"{GRADIENT_LIST}, got <...> of type generator"),
    (lambda g, w: (np.ones(5),), TypeError, f"{GRADIENT_LIST}, got array(...) of type ndarray"),
    (lambda g, w: (dict(enumerate(g)),), TypeError, f"{GRADIENT_LIST}, got ... of type dict"),
    (lambda g, w: ([],), ValueError, f"{COUNT}, got 0"),
    (lambda g, w: (g[1:],), ValueError, f"{COUNT}, got 4"),
    (lambda g, w: ([*g, None],), ValueError, f"{COUNT}, got 6"),
    (lambda g, w: ([None] * 5,), ValueError, NONE),
    (lambda g, w: ([None], w[:1]), ValueError, NONE),
    (lambda g, w: ([], []), ValueError, NONE),
    (lambda g, w: (g, w[:4]), ValueError, "gradients must have one entry for each of the 4 variables, got 5"),
    (lambda g, w: (g, w[::-1]), TypeError, "gradients[0] must have a dtype that ... table, ..., got float32"),
    (lambda g, w: (g[:1], w[0]), TypeError, f"{LIST}, got array(...) of type ndarray"),
    (lambda g, w: (g, iter(w)), TypeError, f"{LIST}, got <...> of type list_iterator"),
    (lambda g, w: (g[:1], [1.0]), TypeError, "variables[0] must be an ndarray, got 1.0 of type float"),
    (lambda g, w: (g[:1], [w[0].copy()]), ValueError, f"{KNOWN} of shape (3, 2) and dtype float32"),
    (lambda g, w: (g[:1], [w[0][:2]]), ValueError, f"{KNOWN} of shape (2, 2) and dtype float32"),
    (lambda g, w: (g[:1], [w[0].view(np.int32)]), ValueError, f"{KNOWN} of shape (3, 2) and dtype int32"),
    (lambda g, w: (g[:2], [w[0], w[0]]), ValueError, TWICE),
    (lambda g, w: (g[:2], [w[0], w[0][:]]), ValueError, TWICE),
    (lambda g, w: (g[3:4] * 2, [w[3], w[3]]), ValueError, TWICE),
]


@both
@pytest.mark.parametrize(("arguments", "error", "message"), CALLS)
def test_the_arguments_of_apply(
    arguments: Callable[[list[Any], list[Any]], tuple[Any, ...]],
    error: type[Exception],
    message: str,
    scaled: bool,
) -> None:
    with nothing_changes(scaled) as training:
        given = arguments(training.gradients, training.variables)
        with pytest.raises(error) as caught:
            training.optimizer.apply(*given)
        assert matches(caught.value, message), str(caught.value)


BUILT = (
    "variables must be the 5 arrays that the optimizer was built with, in that order, got some of them ..."
)


@both
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (lambda w: (None,), TypeError, f"{LIST}, got None of type NoneType"),
        (lambda w: (iter(w),), TypeError, f"{LIST}, got <...> of type list_iterator"),
        (lambda w: ([np.ones(2)],), ValueError, f"{KNOWN} of shape (2,) and dtype float64"),
        (
            lambda w: ([array.copy() for array in w],),
            ValueError,
            f"{KNOWN} of shape (3, 2) and dtype float32",
        ),
        (lambda w: ([],), ValueError, BUILT),
        (lambda w: (w[:4],), ValueError, BUILT),
        (lambda w: (w[::-1],), ValueError, BUILT),
        (
            lambda w: (w, NAMES[:4]),
            ValueError,
            "names must have one entry for each of the 5 variables, got 4",
        ),
        (lambda w: (w, list("abcde")), ValueError, f"names must be those ..., {NAMES}, got {list('abcde')}"),
    ],
)
def test_building_again(
    arguments: Callable[[list[Any]], tuple[Any, ...]], error: type[Exception], message: str, scaled: bool
) -> None:
    with nothing_changes(scaled) as training:
        given = arguments(training.variables)
        with pytest.raises(error) as caught:
            training.optimizer.build(*given)
        assert matches(caught.value, message), str(caught.value)


def failing() -> float:
    raise LookupError("no rate today")


RATE = "the value returned by the callable learning_rate must be a real number that is finite in float32"


@both
@pytest.mark.parametrize(
    ("rate", "error", "message"),
    [
        (failing, LookupError, "no rate today"),
        (lambda: "0.1", TypeError, f"{RATE}, got '0.1' of type str"),
        (lambda: None, TypeError, f"{RATE}, got None of type NoneType"),
        (lambda: True, TypeError, f"{RATE}, got True of type bool"),
        (lambda: 0.1j, TypeError, f"{RATE}, got 0.1j of type complex"),
        (lambda: np.ones(1), TypeError, f"{RATE}, got array([1.]) of type ndarray"),
        (lambda: math.nan, ValueError, f"{RATE}, got nan"),
        (lambda: math.inf, ValueError, f"{RATE}, got inf"),
        (lambda: 1e39, ValueError, f"{RATE}, got 1e+39"),
    ],
)
def test_the_rate_of_a_call(
    rate: Callable[[], Any], error: type[Exception], message: str, scaled: bool
) -> None:
    with nothing_changes(scaled) as training:
        training.optimizer.learning_rate = rate
        with pytest.raises(error) as caught:
            training.optimizer.apply(training.gradients)
        assert matches(caught.value, message), str(caught.value)
        training.optimizer.learning_rate = 0.1


@both
@pytest.mark.parametrize(
    ("kind", "named"),
    [("variables", "bias"), ("velocities", "the velocity of bias"), ("averages", "the average of bias")],
)
def test_what_was_made_read_only(kind: str, named: str, scaled: bool) -> None:
    expected = f"^{named} must be writable, since it is updated in place, got a read-only array$"
    with nothing_changes(scaled) as training:
        array = training.variables[1] if kind == "variables" else getattr(training.optimizer, kind)[1]
        array.flags.writeable = False
        with pytest.raises(ValueError, match=expected):
            training.optimizer.apply(training.gradients)
        array.flags.writeable = True


@both
def test_a_thread_that_flushes_subnormal_numbers(scaled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with nothing_changes(scaled) as training, monkeypatch.context() as patch:
        patch.setattr(sgd_ref.arithmetic.rounded, "flushes_subnormals", lambda: True)
        with pytest.raises(RuntimeError, match=r"^this thread flushes subnormal numbers to zero"):
            training.optimizer.apply(training.gradients)


@both
@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (
            lambda optimizer: setattr(optimizer, "name", "b"),
            AttributeError,
            "name is fixed when the optimizer is constructed, got 'b'; only learning_rate can be set",
        ),
        (lambda optimizer: setattr(optimizer, "calls", 0), AttributeError, "...'calls'..."),
        (lambda optimizer: setattr(optimizer, "iterations", 0), AttributeError, "...'iterations'..."),
        (lambda optimizer: setattr(optimizer, "built", False), AttributeError, "...'built'..."),
        (
            lambda optimizer: setattr(optimizer, "learning_rate", float),
            TypeError,
            "learning_rate must be ..., a schedule or a callable, got <class 'float'> of type type",
        ),
        (
            lambda optimizer: optimizer.exclude_from_weight_decay(var_names=["scale"]),
            RuntimeError,
            "exclude_from_weight_decay must be called before the optimizer is built",
        ),
        (lambda optimizer: optimizer.set_weights([0, 0.5]), ValueError, "values must hold ... arrays, got 2"),
        (
            lambda optimizer: optimizer.finalize_variable_values([np.ones(2)]),
            ValueError,
            f"{KNOWN} of shape (2,) and dtype float64",
        ),
        (
            lambda optimizer: optimizer.scale_loss(np.array([1, 2])),
            TypeError,
            f"loss must have one of the dtypes {FLOATS}, got int64",
        ),
    ],
)
def test_other_uses(act: Callable[[Any], Any], error: type[Exception], message: str, scaled: bool) -> None:
    with nothing_changes(scaled) as training:
        with pytest.raises(error) as caught:
            act(training.optimizer)
        assert matches(caught.value, message), str(caught.value)
