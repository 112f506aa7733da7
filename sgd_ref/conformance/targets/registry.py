"""The targets that the kit knows by name, and the implementations that a user names."""

from __future__ import annotations

import importlib
import re
import shlex
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from itertools import product
from pathlib import Path
from typing import Any

from sgd_ref.conformance.catalogue.case import Case, Implementation
from sgd_ref.conformance.protocol.failures import WorkerFailed
from sgd_ref.conformance.targets.bitsandbytes import target as bitsandbytes
from sgd_ref.conformance.targets.dlib import target as dlib
from sgd_ref.conformance.targets.jax import target as jax
from sgd_ref.conformance.targets.keras import target as keras
from sgd_ref.conformance.targets.libtorch import target as libtorch
from sgd_ref.conformance.targets.mlx import target as mlx
from sgd_ref.conformance.targets.onnx import target as onnx
from sgd_ref.conformance.targets.optax import target as optax
from sgd_ref.conformance.targets.paddle import target as paddle
from sgd_ref.conformance.targets.program import Program
from sgd_ref.conformance.targets.pytorch_optimizer import target as pytorch_optimizer
from sgd_ref.conformance.targets.scripts import function
from sgd_ref.conformance.targets.sklearn import target as sklearn
from sgd_ref.conformance.targets.target import CannotRun, Family, Option, Target
from sgd_ref.conformance.targets.tf_keras import target as tf_keras
from sgd_ref.conformance.targets.tfjs import target as tfjs
from sgd_ref.conformance.targets.timm import target as timm
from sgd_ref.conformance.targets.tinygrad import target as tinygrad
from sgd_ref.conformance.targets.torch import target as torch

ALL = "all"

TIME_LIMIT, START_LIMIT = 60.0, 120.0
"""The default limits, in seconds, for the answer of a program to one case, and for its handshake."""


FAMILIES: Mapping[str, Family] = {
    "keras": keras.FAMILY,
    "torch": torch.FAMILY,
    "optax": optax.FAMILY,
    "sklearn": sklearn.FAMILY,
    "onnx": onnx.FAMILY,
    "jax": jax.FAMILY,
    "tinygrad": tinygrad.FAMILY,
    "libtorch": libtorch.FAMILY,
    "tfjs": tfjs.FAMILY,
    "mlx": mlx.FAMILY,
    "paddle": paddle.FAMILY,
    "pytorch_optimizer": pytorch_optimizer.FAMILY,
    "timm": timm.FAMILY,
    "bitsandbytes": bitsandbytes.FAMILY,
    "dlib": dlib.FAMILY,
    "tf_keras": tf_keras.FAMILY,
}
"""The targets that the kit knows by name: each is a folder beside this file, and one entry here."""


def options_of(name: str) -> dict[str, str]:
    """Return the words for one implementation on the command line, from its name.

    >>> options_of("keras jax eager")
    {'target': 'keras', 'backend': 'jax', 'mode': 'eager'}
    """
    target, *values = name.split(" ")
    family = FAMILIES.get(target)
    return {"target": target} | ({} if family is None else dict(zip(family.options, values, strict=True)))


def arguments_of(name: str, *others: str) -> str:
    """Return the command-line text for one implementation, with other arguments after the name of the target.

    >>> arguments_of("keras jax eager", "subnormals-flushed")
    'keras subnormals-flushed --backend jax --mode eager'
    """
    target, *values = options_of(name).items()
    return " ".join([target[1], *others, *(f"--{option} {value}" for option, value in values)])


def names() -> list[str]:
    """Return the names of all targets that the kit knows.

    >>> [name for name in names() if name.startswith(("optax", "onnx"))]
    ['optax eager', 'optax jitted', 'onnx']
    """
    return [
        " ".join((word, *values)) for word, family in FAMILIES.items() for values in family.combinations()
    ]


def options() -> dict[str, Option]:
    """Return the options of all families for the command line, each with its values and "all".

    >>> options()["variant"].values
    ('loop', 'foreach', 'fused', 'compiled', 'all')
    """
    owners: dict[str, dict[str, Option]] = {}
    for word, family in FAMILIES.items():
        for name, option in family.options.items():
            owners.setdefault(name, {})[word] = option
    return {
        name: Option(
            (*dict.fromkeys(value for option in of.values() for value in option.values), ALL),
            "; ".join(f"{word}: {option.help} (default: {option.values[0]})" for word, option in of.items()),
        )
        for name, of in owners.items()
    }


def targets(target: str, **given: str | None) -> list[Target]:
    """Return the targets that the arguments of the command name.

    Parameters
    ----------
    target : str
        One of `FAMILIES`, or ``module:function``.
    **given : str or None
        A value for each option of the family; "all" stands for every value, None for the first.

    Raises
    ------
    ValueError
        If the target has neither form, or lacks the option or the value.
    CannotRun
        If none of the named targets is installed, or the function cannot be imported.
    """
    family = FAMILIES.get(target)
    if family is None and not re.fullmatch(r"[\w.]+:[\w.]+", target):
        raise ValueError(
            f"the target must be {', '.join(FAMILIES)}, module:function or -- PROGRAM, got {target!r}"
        )
    known = {} if family is None else family.options
    for name, value in given.items():
        if value is not None:
            _check_option(target, name, value, known.get(name))
    if family is None:
        return [_function(target)]
    chosen = [
        option.values if given.get(name) == ALL else (given.get(name) or option.values[0],)
        for name, option in known.items()
    ]
    combinations = list(product(*chosen))
    present = [combination for combination in combinations if combination not in family.absent]
    if not present:
        raise CannotRun(family.absent[combinations[0]])
    return [family.member(*combination) for combination in present]


def how_to_run(
    case: Case,
    target: str,
    *,
    optimizer: str | None = None,
    by_design: Collection[str] = (),
    **chosen: str,
) -> str:
    """Return the code that defines ``run(case)`` for a target of the command line, in a script.

    Parameters
    ----------
    case : Case
        The case to run; the code covers only the features of this case.
    target : str
        One of `FAMILIES`, or ``module:function``.
    optimizer : str, optional
        ``module:name`` of an optimizer that is made in place of the framework's own.
    by_design : collection of str
        Names of known deviations that the target is to have.
    **chosen : str
        Options of the family, as `options_of` gives them; an option that is left out has its default.

    Raises
    ------
    ValueError
        If the target lacks a feature that the case needs, or cannot take another optimizer or the
        deviations.

    Examples
    --------
    >>> print(how_to_run(Case("a", {}, (), (), ()), "mine:run").splitlines()[-1])
    run = mine.run
    """
    family = FAMILIES.get(target)
    if family is None:
        return function.how_to_run(target)
    values = {name: chosen.get(name, option.values[0]) for name, option in family.options.items()}
    unknown = sorted(set(by_design) - set(family.by_design))
    if unknown:
        raise ValueError(f"by_design must be what {target} can be asked for, got {', '.join(unknown)}")
    meant: dict[str, Any] = {"by_design": frozenset(by_design)} if by_design else {}
    if optimizer is not None:
        if not family.takes_optimizers:
            owners = ", ".join(word for word, other in FAMILIES.items() if other.takes_optimizers)
            raise ValueError(f"an optimizer of your own must go with one of {owners}, got {target}")
        meant["optimizer"] = optimizer
    return family.how_to_run(case, **values, **meant)


def program(command: Sequence[str], time_limit: float, start_limit: float) -> Target:
    """Return a program, in any language, that speaks the protocol of `protocol.worker`.

    Parameters
    ----------
    command : sequence of str
        The program and its arguments.
    time_limit, start_limit : float
        Seconds for one case, and from the start to the handshake.
    """
    # Neither the name of a known implementation nor the file of a ledger begins like this.
    name = f"-- {shlex.join(command)}"

    @contextmanager
    def start() -> Iterator[Implementation]:
        with Program(command, time_limit=time_limit, start_limit=start_limit) as run:
            try:
                _ = run.handshake
            except (OSError, WorkerFailed) as problem:
                raise CannotRun(f"{name}: {problem}") from problem
            yield run

    return Target(name, start, introduces_itself=True)


def _check_option(target: str, name: str, value: str, option: Option | None) -> None:
    if option is None:
        owners = ", ".join(word for word, family in FAMILIES.items() if name in family.options)
        raise ValueError(f"--{name} must be left out for {target}, it belongs to {owners}; got {value!r}")
    if value not in (*option.values, ALL):
        accepted = ", ".join((*option.values, ALL))
        raise ValueError(f"--{name} of {target} must be one of {accepted}, got {value!r}")


def _function(target: str) -> Target:
    module_name, _, path = target.partition(":")
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        function: Any = importlib.import_module(module_name)
        for attribute in path.split("."):
            function = getattr(function, attribute)
    # An import may raise any error.
    except (Exception, SystemExit) as problem:
        raise CannotRun(f"{target}: {type(problem).__name__}: {problem}") from problem
    finally:
        sys.path.remove(folder)
    if not callable(function):
        raise CannotRun(f"{target}: it is not a function")
    return Target(target, lambda: nullcontext(function))
