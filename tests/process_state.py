"""What outlives a test in its process, and changes the tests that come after it on the same worker."""

from __future__ import annotations

import decimal
import gc
import locale
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

PACKAGES = ("sgd_ref", "numba_kernels")

OF_OTHERS = ("PYTEST_CURRENT_TEST", "TORCHINDUCTOR_", "TRITON_", "TF_", "TF2_", "XLA_", "KMP_", "DASK_")
"""Beginnings of environment variables that pytest and the frameworks set when they are used."""

TIERS = "sgd_ref.conformance.catalogue.tiers"

OF_CASES = ((TIERS, "_standard"), (TIERS, "_smoke"), (TIERS, "_first"))
"""Caches of cases, which are told by their identity: cases that are made twice are strangers."""

REGISTRIES = (("sgd_ref.conformance.deviations", "DEVIATIONS"), ("sgd_ref.conformance.faithful", "FAITHFUL"))


def state(whole: bool) -> dict[str, Any]:
    """Return what each file of tests must leave as it was, by name; what is not there yet is left out.

    The whole state has also what frameworks may change when they are first used.
    """
    return {**dict(_always()), **(dict(_others()) if whole else {})}


def _always() -> Iterator[tuple[str, Any]]:
    yield "the current folder", _current_folder()
    for name, registry in REGISTRIES:
        if name in sys.modules:
            yield f"{name}.{registry}", dict(getattr(sys.modules[name], registry))
    for name, cached in OF_CASES:
        if name in sys.modules and (function := getattr(sys.modules[name], cached)).cache_info().currsize:
            yield f"the cases of {name}.{cached}()", tuple(map(id, function()))


def _others() -> Iterator[tuple[str, Any]]:
    variables = {name: value for name, value in os.environ.items() if not name.startswith(OF_OTHERS)}
    yield "environment variables", variables
    yield "sys.path", list(sys.path)
    yield "the locale", locale.setlocale(locale.LC_ALL)
    yield "the time zone", time.tzname
    yield "the context of decimal", repr(decimal.getcontext())
    yield "the limit of recursion", sys.getrecursionlimit()
    yield "the garbage collector", (gc.isenabled(), gc.get_threshold())
    yield "handlers of signals", {name: signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM)}
    modules = dict(sys.modules)
    # They may not be installed, and tests put others in their place.
    with suppress(KeyError, AttributeError):
        yield "NumPy's errors and formats", (modules["numpy"].geterr(), modules["numpy"].get_printoptions())
    with suppress(KeyError, AttributeError):
        torch = modules["torch"]
        yield "PyTorch's dtype and threads", (torch.get_default_dtype(), torch.get_num_threads())
    for name, module in modules.items():
        if name.startswith(PACKAGES):
            yield f"the module {name}", module


def _current_folder() -> str:
    try:
        return os.getcwd()  # noqa: PTH109
    except FileNotFoundError:
        return "a folder that is no longer there"


def changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Return in words what is no longer as it was; what has come since is no change."""
    return [
        f"{name}: {_difference(value, after[name])}" if name in after else f"{name}: gone"
        for name, value in before.items()
        if name not in after or after[name] != value
    ]


def _difference(before: Any, after: Any) -> str:
    if isinstance(before, dict) and isinstance(after, dict):
        keys = before.keys() | after.keys()
        return ", ".join(sorted(str(key) for key in keys if before.get(key) != after.get(key)))
    if isinstance(before, (list, str)):
        return f"{after!r} instead of {before!r}"
    return "others than before"
