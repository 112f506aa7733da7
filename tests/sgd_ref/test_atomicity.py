"""A step is made as a whole or not at all, whatever comes in between."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sgd_ref
from sgd_ref.optimizer import Values


class Interrupting:
    """A result that cannot be written, since an interrupt comes."""

    def __array__(self, *arguments: Any, **keywords: Any) -> Any:
        raise KeyboardInterrupt


class Interrupted(sgd_ref.SGD):
    """An optimizer in which, once it is armed, an interrupt comes between two writes."""

    armed = False

    def advance(self, *arguments: Any) -> Values:
        values = super().advance(*arguments)
        if self.armed:
            values.variables[1] = Interrupting()  # type: ignore[call-overload]
        return values


def test_an_interrupt_between_two_writes_undoes_the_first() -> None:
    first, second = np.ones(3, "float32"), np.ones(4, "float32")
    optimizer = Interrupted(0.5, momentum=0.75)
    gradients = [np.full(3, 2.0, "float32"), np.full(4, 2.0, "float32")]
    optimizer.build([first, second])
    optimizer.apply(gradients)
    before = [array.tobytes() for array in (first, second, *optimizer.velocities)]
    optimizer.armed = True
    with pytest.raises(KeyboardInterrupt):
        optimizer.apply(gradients)
    assert [array.tobytes() for array in (first, second, *optimizer.velocities)] == before
    assert optimizer.calls == 1
    optimizer.armed = False
    optimizer.apply(gradients)
    assert optimizer.calls == 2


def test_a_variable_that_was_reshaped_is_refused_before_anything_changes() -> None:
    first, second = np.ones(4, "float32"), np.ones(4, "float32")
    optimizer = sgd_ref.SGD(0.5, momentum=0.5)
    optimizer.build([first, second], ["a", "b"])
    with warnings.catch_warnings():
        # Newer NumPy discourages setting a shape in place, and still does it.
        warnings.simplefilter("ignore", DeprecationWarning)
        second.shape = (4, 1)
    with pytest.raises(
        ValueError, match=r"b must be float32 of shape \(4,\), .*got float32 of shape \(4, 1\)"
    ):
        optimizer.apply([np.ones(4, "float32"), np.ones((4, 1), "float32")])
    assert (first == 1).all()
    assert optimizer.calls == 0


@pytest.mark.parametrize("built", [False, True])
def test_a_callable_rate_must_not_call_apply(built: bool) -> None:
    w, g = np.ones(3, "float32"), np.ones(3, "float32")
    inside = False

    def rate() -> float:
        nonlocal inside
        if not inside:
            inside = True
            optimizer.apply([g], [w])
        return 0.5

    optimizer = sgd_ref.SGD(rate, momentum=0.5)
    if built:
        optimizer.build([w])
    with pytest.raises(RuntimeError, match="callable learning_rate must not call apply"):
        optimizer.apply([g], [w])
    assert optimizer.calls == 0
    assert (w == 1).all()


def test_a_read_only_view_of_a_variable_names_it() -> None:
    w = np.ones(3, "float32")
    optimizer = sgd_ref.SGD(0.5)
    optimizer.build([w])
    view = w.view()
    view.setflags(write=False)
    optimizer.apply([np.ones(3, "float32")], [view])
    assert (w == 0.5).all()


@pytest.mark.parametrize(
    "make", [sgd_ref.SGD, lambda name: sgd_ref.LossScaleOptimizer(sgd_ref.SGD(), name=name)]
)
def test_a_slash_in_the_name_of_an_optimizer_is_refused(make: Any) -> None:
    with pytest.raises(ValueError, match="name must be a string without '/', got 'a/b'"):
        make(name="a/b")


def test_an_empty_part_of_a_name_is_refused() -> None:
    with pytest.raises(ValueError, match=r"var_names\[0\] must be a string that is not empty, got ''"):
        sgd_ref.SGD(weight_decay=0.5).exclude_from_weight_decay(var_names=[""])


def saved(path: Path) -> np.ndarray:
    w = np.array([1.0, 2.0], "float32")
    optimizer = sgd_ref.SGD(0.5)
    optimizer.build([w])
    sgd_ref.save(path, optimizer, [w])
    return w


def test_a_checkpoint_may_have_the_longest_name(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 251 + ".npz")
    w = saved(path)
    restored = np.zeros(2, "float32")
    sgd_ref.load(path, [restored])
    assert (restored == w).all()


def test_saving_again_keeps_who_may_read(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.npz"
    saved(path)
    path.chmod(0o600)
    saved(path)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_folder_that_cannot_be_read_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open

    def refusing(path: Any, flags: int, *arguments: Any) -> int:
        if flags & getattr(os, "O_DIRECTORY", 0):
            raise PermissionError(f"{path} cannot be read")
        return opened(path, flags, *arguments)

    monkeypatch.setattr(os, "open", refusing)
    saved(tmp_path / "checkpoint.npz")
    sgd_ref.load(tmp_path / "checkpoint.npz", [np.zeros(2, "float32")])
