"""Checkpoints: save an optimizer and its variables in one file and load them again, to the last bit.

The file is a ``.npz`` archive that ``numpy.load(path, allow_pickle=False)`` reads. Its array "manifest" holds
JSON in UTF-8. Every other array holds the bits of a variable or of an array of state as unsigned integers,
since NumPy alone cannot name every dtype::

    manifest                            format, version, optimizer (class_name and config, as Keras names
                                        them), calls, loss_scale, growth_counter, and for each variable
                                        its name, dtype, shape and whether weight decay applies
    variable_0, variable_1, ...         the variables
    average_0, ...                      the state that the settings ask for, one array for each variable
    gradient_accumulator_0, ... momentum_0, ...
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import secrets
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from sgd_ref.arithmetic.formats import Array
from sgd_ref.base import learning_rate as rates
from sgd_ref.base.exclusive import alone
from sgd_ref.base.learning_rate import LearningRate
from sgd_ref.base.matching import check_forms, order_of_names
from sgd_ref.base.optimizer import BaseSGD
from sgd_ref.base.state import State
from sgd_ref.base.variables import check_names, check_variables
from sgd_ref.base.weights import counter
from sgd_ref.files import check_regular, destination
from sgd_ref.loss_scale import LossScaleOptimizer
from sgd_ref.optimizer import SGD
from sgd_ref.validation import boolean, reject_type, text

FORMAT = "sgd-ref checkpoint"
VERSION = 1
CLASSES: dict[str, type[SGD | LossScaleOptimizer]] = {
    "SGD": SGD,
    "LossScaleOptimizer": LossScaleOptimizer,
}
KEYS = {"format", "version", "optimizer", "calls", "loss_scale", "growth_counter", "variables"}


def save(
    path: str | os.PathLike[str], optimizer: BaseSGD | LossScaleOptimizer, variables: Sequence[Array]
) -> None:
    """Write an optimizer, with all of its state, and its variables into one file.

    The file at `path` is replaced in one step: a reader always finds the complete old checkpoint or the
    complete new one, even if this process is killed or the power fails. The new file has the permissions of
    the old one. A process that is killed may leave a temporary file behind; its name is ``.sgd-ref-``, random
    digits and ``.tmp``.

    Only a regular file is replaced. A symbolic link stays, and the file that it points to is replaced or
    created. Other hard links to a file keep the old checkpoint.

    Parameters
    ----------
    path : str or path
        ``.npz`` is the usual ending; none is added.
    optimizer : SGD or LossScaleOptimizer
        It must be built. A learning rate that is a callable, or a schedule of your own class, is left
        out.
    variables : list of ndarray
        All variables of the optimizer, in the order in which it was built.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        If `optimizer` is of another class, not built or at work in another thread, `variables` are not its
        variables, or a count is beyond int64, which `load` would refuse.
    OSError
        If the file cannot be written, or `path` leads to a folder, a named pipe, a socket or a device. What
        was at `path` is still there.

    Examples
    --------
    >>> import tempfile
    >>> w = np.array([1.0, 2.0], "float32")
    >>> optimizer = SGD(0.5, momentum=0.5)
    >>> optimizer.apply([np.array([1.0, 1.0], "float32")], [w])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(Path(folder, "training.npz"), optimizer, [w])
    ...     restored = np.zeros(2, "float32")
    ...     optimizer = load(Path(folder, "training.npz"), [restored])
    >>> restored, optimizer.velocities, optimizer.calls
    (array([0.5, 1.5], dtype=float32), [array([-0.5, -0.5], dtype=float32)], 1)
    """
    inner = _checked_inner(optimizer)
    # A step during the save would leave a checkpoint that is half old and half new.
    with alone(inner._running):
        state = inner.state_to_save(variables)
        counter("the number of calls", state.calls)
        if isinstance(optimizer, LossScaleOptimizer):
            counter("the growth counter", optimizer.growth_counter)
        target, mode = destination(path)
        _replace(target, mode, _manifest(optimizer, state), state)


def _replace(target: Path, mode: int | None, manifest_of_all: dict[str, Any], state: State) -> None:
    """Write a checkpoint beside its target, and put it into its place in one step."""
    manifest = json.dumps(manifest_of_all, allow_nan=False).encode()
    arrays: dict[str, Any] = {"manifest": np.frombuffer(manifest, np.uint8)}
    arrays |= {key: _bits(array) for key, array in _arrays(state).items()}
    # Not the name of the target with an ending, since that name may already have the maximum length.
    temporary = target.with_name(f".sgd-ref-{secrets.token_hex(8)}.tmp")

    def create(name: str, flags: int) -> int:
        # The permissions are never wider, since whoever opens the file while it is empty can also read it
        # later.
        return os.open(name, flags, 0o666 if mode is None else mode)

    try:
        with open(temporary, "xb", opener=create) as file:
            if mode is not None:
                # The umask may have removed some of the permissions.
                temporary.chmod(mode)
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _flush_folder(target.parent)


def load(
    path: str | os.PathLike[str],
    variables: Sequence[Array],
    learning_rate: LearningRate | None = None,
    *,
    names: Sequence[str] | None = None,
) -> SGD | LossScaleOptimizer:
    """Read a checkpoint: write the saved values into the variables and return the optimizer.

    Nothing in the file is executed: it is never unpickled.

    Parameters
    ----------
    path : str or path
        The path that `save` was given.
    variables : list of ndarray
        One for each saved variable, of the same shape and dtype. They are overwritten. Without `names` they
        must be in the order in which they were saved: if you exchange two variables of one shape and dtype,
        each gets the values of the other.
    learning_rate : optional
        Replaces the saved learning rate; needed if that was a callable or a schedule of your own class.
    names : list of str, optional
        The name of each of `variables`, in any order; each saved name must be given once. The saved values
        are found by these names.

    Returns
    -------
    SGD or LossScaleOptimizer
        Built on the variables; training goes on as if it had never stopped.

    Raises
    ------
    TypeError, ValueError
        If an argument is not acceptable, or the file is no complete checkpoint of such variables. No
        variable has changed then.
    OSError
        If there is no such file, it is not a regular one, or it cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> w = np.array([1.0, 2.0], "float32")
    >>> optimizer = SGD(lambda: 0.5)
    >>> optimizer.build([w], ["kernel"])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(Path(folder, "training.npz"), optimizer, [w])
    ...     restored = np.zeros(2, "float32")
    ...     optimizer = load(Path(folder, "training.npz"), [restored], learning_rate=lambda: 0.25)
    >>> restored, optimizer.learning_rate
    (array([1., 2.], dtype=float32), np.float32(0.25))
    """
    checked = check_variables(variables)
    if names is not None:
        names = check_names(names, len(checked))
    if learning_rate is not None:
        rates.checked(learning_rate)
    # Before the file is opened, since opening a named pipe waits for a writer.
    check_regular(path, Path(path).stat().st_mode)
    with Path(path).open("rb") as file:
        try:
            manifest, arrays = _read(file)
            if names is not None:
                manifest, arrays = _ordered(manifest, arrays, names)
            _check_variables_fit(manifest["variables"], checked)
            optimizer, values = _restored(manifest, arrays, checked, learning_rate)
        # The modules that read archives raise errors of many types for a damaged one.
        except Exception as error:
            problem = str(error) if isinstance(error, (TypeError, ValueError)) else repr(error)
            raise ValueError(f"{os.fspath(path)} cannot be loaded: {problem}") from error
    if learning_rate is not None:
        # Unlike the settings in the file, this learning rate has not given a warning before.
        inner = optimizer.inner_optimizer if isinstance(optimizer, LossScaleOptimizer) else optimizer
        inner._losses.forget_rate()
        inner.learning_rate = learning_rate
    for variable, value in zip(checked, values, strict=True):
        np.asarray(variable)[...] = value
    return optimizer


def _checked_inner(optimizer: Any) -> BaseSGD:
    inner = optimizer.inner_optimizer if isinstance(optimizer, LossScaleOptimizer) else optimizer
    if not isinstance(inner, BaseSGD):
        reject_type("optimizer", optimizer, "an SGD optimizer or a LossScaleOptimizer")
    for part in (optimizer, inner):
        # The class of the fast kernels has the same name, SGD, and the same bits.
        if type(part).__name__ not in CLASSES:
            reject_type("optimizer", part, f"one of {', '.join(CLASSES)}, which is what load constructs")
    return inner


def _manifest(optimizer: BaseSGD | LossScaleOptimizer, state: State) -> dict[str, Any]:
    scaling = optimizer if isinstance(optimizer, LossScaleOptimizer) else None
    return {
        "format": FORMAT,
        "version": VERSION,
        "optimizer": {"class_name": type(optimizer).__name__, "config": optimizer.get_config()},
        "calls": state.calls,
        "loss_scale": None if scaling is None else float(scaling.loss_scale),
        "growth_counter": None if scaling is None else scaling.growth_counter,
        "variables": [
            {"name": name, "dtype": variable.dtype.name, "shape": list(variable.shape), "decayed": decayed}
            for name, variable, decayed in zip(state.names, state.variables, state.decayed, strict=True)
        ],
    }


def _arrays(state: State) -> dict[str, Array]:
    count = len(state.variables)
    return {
        **{f"variable_{index}": variable for index, variable in enumerate(state.variables)},
        **{f"{kind}_{index % count}": array for index, (kind, array) in enumerate(state.slots())},
    }


def _bits(array: Array) -> Array:
    return np.asarray(array).view(f"u{array.itemsize}")


def _flush_folder(folder: Path) -> None:
    """Flush the folder, with its new entry, to the disk if the system offers this."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    # The checkpoint is in place by now; a folder that cannot be opened is no reason to report a failure.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _read(file: BinaryIO) -> tuple[dict[str, Any], dict[str, Array]]:
    with zipfile.ZipFile(file) as archive:
        # Each member is compared with its checksum here, before NumPy interprets it.
        members = {name.removesuffix(".npy"): archive.read(name) for name in archive.namelist()}
    arrays = {
        key: np.lib.format.read_array(io.BytesIO(member), allow_pickle=False)
        for key, member in members.items()
    }
    if "manifest" not in arrays:
        raise ValueError("it is no checkpoint, since it has no manifest")
    manifest = json.loads(arrays.pop("manifest").tobytes())
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ValueError(f"it is no checkpoint, since its manifest does not name the format {FORMAT!r}")
    if manifest.get("version") != VERSION:
        raise ValueError(f"it has the format version {manifest.get('version')!r}, known is {VERSION}")
    if manifest.keys() != KEYS:
        raise ValueError(f"its manifest must have the keys {sorted(KEYS)}, got {sorted(manifest)}")
    return manifest, arrays


def _ordered(
    manifest: dict[str, Any], arrays: dict[str, Array], names: Sequence[str]
) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return the read content with the variables in the order of `names`."""
    saved = manifest["variables"]
    order = order_of_names(names, [entry["name"] for entry in saved])
    place = {str(old): new for new, old in enumerate(order)}

    def renamed(key: str) -> str:
        kind, _, index = key.rpartition("_")
        return f"{kind}_{place[index]}" if index in place else key

    manifest = {**manifest, "variables": [saved[index] for index in order]}
    return manifest, {renamed(key): array for key, array in arrays.items()}


def _check_variables_fit(saved: Sequence[Mapping[str, Any]], variables: Sequence[Array]) -> None:
    if len(saved) != len(variables):
        raise ValueError(f"it has {len(saved)} variables, while {len(variables)} were given")
    forms = [(entry["shape"], entry["dtype"]) for entry in saved]
    check_forms([entry["name"] for entry in saved], forms, variables)


def _restored(
    manifest: Mapping[str, Any],
    arrays: Mapping[str, Array],
    variables: Sequence[Array],
    learning_rate: LearningRate | None,
) -> tuple[SGD | LossScaleOptimizer, list[Array]]:
    """Return the built optimizer, and the values for the variables; the variables are not changed here."""
    optimizer = _constructed(manifest["optimizer"], learning_rate)
    decayed = [boolean("decayed", entry["decayed"]) for entry in manifest["variables"]]
    optimizer.exclude_from_weight_decay(
        [variable for variable, applies in zip(variables, decayed, strict=True) if not applies]
    )
    with warnings.catch_warnings():
        # The warnings about the settings were given when the optimizer was first built.
        warnings.simplefilter("ignore")
        optimizer.build(variables, [text("name", entry["name"]) for entry in manifest["variables"]])
    inner = optimizer.inner_optimizer if isinstance(optimizer, LossScaleOptimizer) else optimizer
    expected = _arrays(inner.built_state())
    if arrays.keys() != expected.keys():
        raise ValueError(f"it must hold the arrays {sorted(expected)}, got {sorted(arrays)}")
    values = [_from_bits(key, arrays[key], like) for key, like in expected.items()]
    count = len(variables)
    _set_state(optimizer, manifest, values[count:])
    return optimizer, values[:count]


def _constructed(saved: Mapping[str, Any], learning_rate: LearningRate | None) -> SGD | LossScaleOptimizer:
    class_name, config = saved["class_name"], saved["config"]
    if class_name not in CLASSES:
        raise ValueError(f"its optimizer is of the unknown class {class_name!r}")
    return CLASSES[class_name].from_config(config, learning_rate)


def _from_bits(key: str, stored: Array, like: Array) -> Array:
    if stored.dtype.kind != "u" or stored.itemsize != like.itemsize or stored.shape != like.shape:
        raise ValueError(
            f"its array {key!r} must be unsigned integers of {like.itemsize} bytes of shape {like.shape}, "
            f"got {stored.dtype} of shape {stored.shape}"
        )
    return stored.astype(f"u{like.itemsize}", copy=False).view(like.dtype)


def _set_state(
    optimizer: SGD | LossScaleOptimizer, manifest: Mapping[str, Any], slots: Sequence[Array]
) -> None:
    weights: list[Any] = optimizer.get_weights()
    weights[len(weights) - len(slots) :] = slots
    if isinstance(optimizer, LossScaleOptimizer):
        weights[2:5] = manifest["growth_counter"], manifest["loss_scale"], manifest["calls"]
    else:
        weights[0] = manifest["calls"]
    optimizer.set_weights(weights)
