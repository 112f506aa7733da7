"""The machine code that a launch would run, built without a device."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock

from numba_kernels.selfcheck.machine_code.cuda.disassembly import counts, instructions, target
from numba_kernels.selfcheck.machine_code.cuda.errors import CouldNotRun
from numba_kernels.selfcheck.machine_code.cuda.wheels import CUOBJDUMP, NVDISASM, require_all, tool

if TYPE_CHECKING:
    from numba_kernels.cuda.toolkit import Kernel

CAPABILITY = re.compile(r"sm_(\d+)(\d)a?")

RESOURCES = re.compile(r"REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)")
"""The line of ``cuobjdump -res-usage`` for each function: registers of a thread, and bytes of memory."""


class Code(NamedTuple):
    """The properties of the machine code of one kernel.

    Attributes
    ----------
    kernel : str
        The name of the kernel.
    capability : str
        The processors that the code is for, such as ``sm_90a``.
    measures : mapping of str to int
        The number of instructions of each family of the disassembly; ``registers`` of a thread; bytes of
        ``stack`` and ``local`` memory of a thread, and of ``shared`` memory of a block.
    """

    kernel: str
    capability: str
    measures: Mapping[str, int]


def build(kernel: Kernel, *capabilities: str, keep_ptx: Callable[[str], None] | None = None) -> list[Code]:
    """Build and examine a kernel for devices that need not be present.

    Parameters
    ----------
    kernel : Kernel
        Any kernel that ``numba_kernels.cuda.toolkit.kernel`` made.
    *capabilities : str
        Such as ``sm_80``. From 9.0 on, a launch runs code for exactly one architecture, such as ``sm_90a``.
    keep_ptx : callable, optional
        Called with the PTX of the last capability, which costs one more step of the linker.

    Raises
    ------
    CouldNotRun
        If a wheel is missing, kernels are simulated, there is no such capability, or the kernel does not
        compile.
    """
    require_compiler()
    codes = []
    for capability, cubin in zip(
        capabilities, machine_code(kernel, *capabilities, keep_ptx=keep_ptx), strict=True
    ):
        text, usage = _looked_at(cubin)
        if target(text) != capability:
            raise CouldNotRun(
                f"capability must be what a launch builds for, {target(text)}, got {capability}"
            )
        try:
            measures = {**counts(instructions(text)), **resources(usage)}
        except ValueError as error:
            raise CouldNotRun(f"{kernel.name} for {capability} could not be read: {error}") from error
        codes.append(Code(kernel.name, capability, measures))
    return codes


def require_compiler() -> None:
    """Raise `CouldNotRun` unless kernels can be built and examined in this process."""
    require_all()

    from numba_kernels.cuda import toolkit

    if toolkit.IS_SIMULATED:
        raise CouldNotRun("NUMBA_ENABLE_CUDASIM must be 0 or not set: the simulator has no machine code")


def machine_code(
    kernel: Kernel, *capabilities: str, keep_ptx: Callable[[str], None] | None = None
) -> list[bytes]:
    """Return the machine code as a launch on devices of these capabilities would load it."""
    numbers = [_number(capability) for capability in capabilities]
    compiled = None
    found = []
    for capability, number in zip(capabilities, numbers, strict=True):
        with _device(number):
            try:
                # The input of the device's compiler is the same for all capabilities, and takes most of the
                # time.
                compiled = compiled or _compiled(kernel)
                found.append(bytes(compiled.library.get_cubin().code))
                if keep_ptx is not None and capability == capabilities[-1]:
                    keep_ptx(str(compiled.library.get_lto_ptx()))
            # Numba, NVVM and the linker raise errors of different types.
            except Exception as error:
                raise CouldNotRun(f"{kernel.name} could not be built for {capability}: {error}") from error
    return found


def ptx(kernel: Kernel, capability: str) -> str:
    """Return the PTX that a launch on a device of a capability would hand to the assembler.

    Raises
    ------
    CouldNotRun
        If kernels are simulated, there is no such capability, or the kernel does not compile.
    """
    require_compiler()
    with _device(_number(capability)):
        try:
            return str(_compiled(kernel).library.get_lto_ptx())
        # As above.
        except Exception as error:
            raise CouldNotRun(f"{kernel.name} could not be built for {capability}: {error}") from error


def _number(capability: str) -> tuple[int, int]:
    match = CAPABILITY.fullmatch(capability)
    if not match:
        raise CouldNotRun(f"capability must be like sm_80 or sm_90a, got {capability!r}")
    return int(match[1]), int(match[2])


def _compiled(kernel: Kernel) -> Any:
    from numba.cuda import dispatcher

    from numba_kernels.cuda import toolkit

    # The dispatcher of the kernel does the same at its first launch.
    types = tuple(toolkit.signature_of(kernel.function).args)
    return dispatcher._Kernel(kernel.dispatcher.py_func, types, **kernel.dispatcher.targetoptions)


@contextmanager
def _device(capability: tuple[int, int]) -> Iterator[None]:
    """Answer the two questions that the compiler asks of a device, as one of this capability would."""
    from numba.cuda import codegen, dispatcher

    device = SimpleNamespace(compute_capability=capability)
    context = SimpleNamespace(device=device)
    with (
        mock.patch.object(dispatcher, "get_current_device", return_value=device),
        mock.patch.object(codegen, "devices", SimpleNamespace(get_context=lambda: context)),
    ):
        yield


def _looked_at(cubin: bytes) -> tuple[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "kernel.cubin")
        path.write_bytes(cubin)
        return _printed(NVDISASM, "-c", str(path)), _printed(CUOBJDUMP, "-res-usage", str(path))


def _printed(wheel: str, *arguments: str) -> str:
    done = subprocess.run([tool(wheel), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise CouldNotRun(f"{wheel} failed with exit status {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def resources(text: str) -> dict[str, int]:
    """Return the registers, stack, shared and local memory in the output of ``cuobjdump -res-usage``.

    Raises
    ------
    ValueError
        If the output has no line about a function.

    Examples
    --------
    >>> resources("REG:32 STACK:0 SHARED:0 LOCAL:0 CONSTANT[0]:648")
    {'registers': 32, 'stack': 0, 'shared': 0, 'local': 0}
    """
    functions = [tuple(map(int, found)) for found in RESOURCES.findall(text)]
    if not functions:
        raise ValueError(f"the resources of a kernel must be known, got {text.strip()!r}")
    return dict(
        zip(("registers", "stack", "shared", "local"), map(max, zip(*functions, strict=True)), strict=True)
    )
