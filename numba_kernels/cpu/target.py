"""The processor that Numba compiles for: this one, or another one that Numba's settings choose.

``NUMBA_CPU_NAME`` and ``NUMBA_CPU_FEATURES``, or the same settings in Numba's configuration file, choose it.
LLVM trusts these settings, and ends the process if they are impossible. So they are checked before LLVM gets
them.
"""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

from llvmlite import binding
from numba.core import codegen, config
from numba.core.registry import cpu_target

OF_EVERY_PROCESSOR = ("64bit", "sse", "sse2", "fp-armv8", "neon")
"""Features that LLVM needs to pass floating-point numbers to functions."""

EMULATION = "soft-float"
"""The feature that replaces instructions by calls of functions, which do not exist here."""

LEVELS = {
    "generic": (),
    "x86-64": (),
    "x86-64-v2": ("sse4.2", "ssse3", "popcnt", "cx16", "sahf"),
    "x86-64-v3": ("avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe", "xsave"),
    "x86-64-v4": ("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"),
}
"""Names that do not stand for a single processor, with the features that each adds to the name before it."""

CONVERSIONS = """
define float @load(i16 %bits) {
  %half = bitcast i16 %bits to half
  %number = fpext half %half to float
  ret float %number
}
define i16 @store(float %number) {
  %half = fptrunc float %number to half
  %bits = bitcast half %half to i16
  ret i16 %bits
}
"""

INSTRUCTIONS = re.compile(r"^\s*(?:v?cvt(?:ph2ps|ps2ph)x?|vcvts[hs]2s[hs]|fcvt)\b", re.MULTILINE)
"""The instructions of x86-64 and ARM that convert between float16 and float32."""

FUSED = """
declare double @llvm.fma.f64(double, double, double)
define double @fused(double %x, double %y, double %z) {
  %result = call double @llvm.fma.f64(double %x, double %y, double %z)
  ret double %result
}
"""

FUSED_INSTRUCTIONS = re.compile(r"^\s*v?fn?m(?:add|sub|la)", re.MULTILINE)
"""The instructions of x86-64 and ARM that multiply and add with one rounding."""


class Target(NamedTuple):
    """The target that Numba compiles for.

    Attributes
    ----------
    name : str
        The name of the processor in LLVM.
    features : str
        The features in the form of LLVM: each with a sign, separated by commas.
    chosen : bool
        Whether the user has set the features, so that the list may be incomplete.
    """

    name: str
    features: str
    chosen: bool

    def present(self) -> set[str]:
        """Return the features that are on.

        >>> sorted(Target("generic", "+avx,-avx2", True).present())
        ['avx']
        """
        return {part[1:] for part in self.features.split(",") if part.startswith("+")}

    def absent(self) -> set[str]:
        """Return the features that are off."""
        return {part[1:] for part in self.features.split(",") if part.startswith("-")}


def target() -> Target:
    """Return the target that Numba compiles for, from its settings and this processor."""
    name = binding.get_host_cpu_name() if config.CPU_NAME is None else config.CPU_NAME
    if config.CPU_FEATURES is None:
        return Target(name, codegen.get_host_cpu_features(), chosen=False)
    return Target(name, config.CPU_FEATURES, chosen=True)


def check() -> None:
    """Check that LLVM can compile for the target, and that this processor can run the compiled code.

    Raises
    ------
    RuntimeError
        If the features are not in the form of LLVM, if a feature that is on is missing here, if a needed
        feature is off, or if the named processor may have features that this one lacks.
    """
    _check(target())


@functools.cache
def _check(chosen: Target) -> None:
    if not chosen.chosen:
        # With any name, Numba passes the features of this processor.
        return
    present = {name for name, there in binding.get_host_cpu_features().items() if there}
    known = set(binding.get_host_cpu_features())
    for part in filter(None, chosen.features.split(",")):
        if not re.fullmatch(r"[+-][^\s+-]\S*", part):
            _refuse(
                "NUMBA_CPU_FEATURES",
                chosen.features,
                f"features with a sign each, as +avx2,-f16c, got {part!r}",
            )
    for name in sorted(chosen.present() & (known - present | {EMULATION})):
        _refuse("NUMBA_CPU_FEATURES", chosen.features, f"features of this processor, which has no {name}")
    for name in sorted(chosen.absent() & set(OF_EVERY_PROCESSOR)):
        _refuse("NUMBA_CPU_FEATURES", chosen.features, f"without -{name}, since no kernel can do without it")
    if chosen.name == binding.get_host_cpu_name():
        return
    if chosen.name not in LEVELS:
        _refuse(
            "NUMBA_CPU_NAME",
            chosen.name,
            f"{', '.join(LEVELS)} or {binding.get_host_cpu_name()} where NUMBA_CPU_FEATURES is set, since "
            "this processor need not have the features of another one; leave NUMBA_CPU_FEATURES out",
        )
    for level, needed in LEVELS.items():
        lacking = sorted(set(needed) - present - chosen.absent())
        if lacking:
            _refuse("NUMBA_CPU_NAME", chosen.name, f"one whose features are there, and not {lacking[0]}")
        if level == chosen.name:
            return


def _refuse(setting: str, value: str, accepted: str) -> None:
    raise RuntimeError(f"{setting} must be {accepted}; it is {value!r}, and no kernel is compiled for it")


@functools.cache
def converts_half_in_hardware() -> bool:
    """Whether the target converts between float16 and float32 by itself.

    Without these instructions, LLVM would call a function that does not exist, and the process would crash.
    """
    check()
    # This is the choice that Numba has already made, even if its settings change later.
    return converts_half(cpu_target.target_context.codegen()._tm)


def converts_half(machine: binding.TargetMachine) -> bool:
    """Whether LLVM has instructions for the conversions of float16 on a target machine.

    LLVM itself is asked: a feature may be on because of the name, or off because another feature is off.
    """
    assembly = machine.emit_assembly(binding.parse_assembly(CONVERSIONS))
    return len(INSTRUCTIONS.findall(assembly)) >= 2


@functools.cache
def fuses_in_hardware() -> bool:
    """Whether the target multiplies and adds with one rounding by itself.

    Without this instruction, LLVM calls a function of the C library, which takes many times as long.
    """
    check()
    return fuses(cpu_target.target_context.codegen()._tm)


def fuses(machine: binding.TargetMachine) -> bool:
    """Whether LLVM has an instruction that multiplies and adds on a target machine."""
    return FUSED_INSTRUCTIONS.search(machine.emit_assembly(binding.parse_assembly(FUSED))) is not None
