"""The processor that Numba compiles for: this one, or another one that Numba was told to take.

``NUMBA_CPU_NAME`` and ``NUMBA_CPU_FEATURES``, or the same settings in a file of Numba's, choose it. LLVM
trusts them, and ends the process where they cannot be true, so they are checked before it hears of them.
"""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

from llvmlite import binding
from numba.core import codegen, config
from numba.core.registry import cpu_target

OF_EVERY_PROCESSOR = ("64bit", "sse", "sse2", "fp-armv8", "neon")
"""Features that LLVM cannot do without where numbers with a fraction are passed to functions."""

EMULATION = "soft-float"
"""The feature by which functions take the place of instructions; these functions are not there."""

LEVELS = {
    "generic": (),
    "x86-64": (),
    "x86-64-v2": ("sse4.2", "ssse3", "popcnt", "cx16", "sahf"),
    "x86-64-v3": ("avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe", "xsave"),
    "x86-64-v4": ("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"),
}
"""Names that stand for no one processor, and the features that each has beyond the one before it."""

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
"""Those of x86-64 and ARM that convert between float16 and float32."""


class Target(NamedTuple):
    """What Numba compiles for.

    Attributes
    ----------
    name : str
        Of the processor, as LLVM has it.
    features : str
        As LLVM takes them: each with a sign, with commas between them.
    chosen : bool
        Whether the features were set by the user, so that they are not all that there are.
    """

    name: str
    features: str
    chosen: bool

    def present(self) -> set[str]:
        """Return the features with a plus.

        >>> sorted(Target("generic", "+avx,-avx2", True).present())
        ['avx']
        """
        return {part[1:] for part in self.features.split(",") if part.startswith("+")}

    def absent(self) -> set[str]:
        """Return the features with a minus."""
        return {part[1:] for part in self.features.split(",") if part.startswith("-")}


def target() -> Target:
    """Return what Numba compiles for, as far as its settings and this processor say it."""
    name = binding.get_host_cpu_name() if config.CPU_NAME is None else config.CPU_NAME
    if config.CPU_FEATURES is None:
        return Target(name, codegen.get_host_cpu_features(), chosen=False)
    return Target(name, config.CPU_FEATURES, chosen=True)


def check() -> None:
    """Check that LLVM can compile for the target, and that this processor can run the compiled code.

    Raises
    ------
    RuntimeError
        If the features are not written as LLVM takes them, one of them is not there or is needed, or the
        processor of that name may have features that this one does not have.
    """
    _check(target())


@functools.cache
def _check(chosen: Target) -> None:
    if not chosen.chosen:
        # Whatever the name, Numba gives the features of this processor with it.
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

    Without these instructions LLVM would call a function that is not there, and the process would die.
    """
    check()
    # That Numba has made its choice, whatever its settings say later.
    return converts_half(cpu_target.target_context.codegen()._tm)


def converts_half(machine: binding.TargetMachine) -> bool:
    """Whether LLVM has instructions for the conversions of float16 on a target machine.

    LLVM is asked itself: a feature may be there because of the name, or gone because another one is.
    """
    assembly = machine.emit_assembly(binding.parse_assembly(CONVERSIONS))
    return len(INSTRUCTIONS.findall(assembly)) >= 2
