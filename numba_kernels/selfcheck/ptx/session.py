"""A process in which kernels run as PTX: with the simulated driver, and with texts for machine code."""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import Any

from numba_kernels.selfcheck.machine_code.cuda.errors import CouldNotRun
from numba_kernels.selfcheck.machine_code.cuda.wheels import REMEDY
from numba_kernels.selfcheck.ptx import texts
from numba_kernels.selfcheck.ptx.driver import library, of_code, of_devices, of_memory, of_streams
from numba_kernels.selfcheck.ptx.driver.device import Device
from numba_kernels.selfcheck.ptx.driver.errors import CouldNotLoad
from numba_kernels.selfcheck.ptx.driver.function import callbacks
from numba_kernels.selfcheck.ptx.faults import Fault

MODULES = (of_code, of_devices, of_memory, of_streams)
"""The modules with functions of the driver."""

_devices: list[Device] = []


def why_not() -> str | None:
    """Return the reason why PTX cannot be executed in this process; None if it can."""
    if _devices:
        return None
    return library.why_no_compiler() or _why_no_kernels()


def _why_no_kernels() -> str | None:
    if importlib.util.find_spec("numba_cuda") is None:
        return f"numba-cuda is not installed; {REMEDY}"
    if os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in ("", "0"):
        return "NUMBA_ENABLE_CUDASIM must be 0 or not set: the simulator has no PTX"
    # Numba looks for a driver only when it is imported.
    if "numba.cuda" in sys.modules:
        return "numba.cuda was imported before in this process"
    try:
        texts.folder()
    except CouldNotRun as problem:
        return str(problem)
    return None


def begin(keeps_texts: bool = True) -> Device:
    """Make this process run kernels as PTX from now on, and return the simulated device.

    Parameters
    ----------
    keeps_texts : bool
        Whether the PTX of kernels is taken from `texts`. If not, Numba's dispatchers compile kernels, or take
        them from the cache, as they do for a device.

    Raises
    ------
    CouldNotLoad
        If that is not possible; see `why_not`.
    """
    if not _devices:
        reason = why_not()
        if reason is not None:
            raise CouldNotLoad(reason)
        device = Device()
        library.load(callbacks(device))
        _devices.append(device)
        _refuse_warnings()
        if keeps_texts:
            _take_texts()
        else:
            _link_texts()
    return _devices[0]


def _take_texts() -> None:
    from numba.cuda import dispatcher

    def compile_to_ptx(self: Any, signature: Any) -> Any:
        arguments, _ = dispatcher.sigutils.normalize_signature(signature)
        found = self.overloads.get(arguments)
        if found is None:
            found = _kernel(self, arguments)
            self.add_overload(found, arguments)
        return found

    # Numba compiles only in this method, and would then assemble the result.
    dispatcher.CUDADispatcher.compile = compile_to_ptx


def _link_texts() -> None:
    """Let the linker give PTX, which the driver takes for machine code."""
    from numba.cuda import codegen

    def get_text(self: Any, cc: Any = None) -> Any:
        capability = self._ensure_cc(cc)
        if capability not in self._cubin_cache:
            self._cubin_cache[capability] = _loadable(self.get_lto_ptx(capability))
        return self._cubin_cache[capability]

    codegen.CUDACodeLibrary.get_cubin = get_text


def _refuse_warnings() -> None:
    from numba.cuda import dispatcher

    def refuse(warning: Any) -> None:
        raise Fault("host", f"a launch must give no warning to its user, got {warning}")

    # This does not depend on warning filters, since cases of the kit silence warnings.
    dispatcher.warn = refuse


def _loadable(text: str) -> Any:
    return importlib.import_module("cuda.core").ObjectCode.from_cubin(text.replace("\0", "").encode() + b"\0")


def _kernel(dispatch: Any, arguments: Any) -> Any:
    """Return the object that Numba launches, with a text in place of machine code."""
    from numba.cuda import codegen, dispatcher, types

    from numba_kernels.cuda.toolkit import Kernel as OfToolkit

    name = dispatch.py_func.__qualname__
    text = texts.text_of(OfToolkit(name, dispatch.py_func, dispatch))
    entry = _entry(text)
    _devices[0].names[entry] = name
    made = codegen.CUDACodeLibrary(dispatch.targetctx.codegen(), name, entry_name=entry, lto=True)
    made._cubin_cache[made._ensure_cc(None)] = _loadable(text)
    return dispatcher._Kernel._rebuild(
        cooperative=False,
        name=entry,
        signature=types.void(*arguments),
        codelibrary=made,
        debug=False,
        lineinfo=False,
        call_helper=None,
        extensions=[],
    )


def _entry(text: str) -> str:
    from numba_kernels.selfcheck.ptx.parsing import ENTRY

    match = ENTRY.search(text)
    assert match is not None
    return match["name"]
