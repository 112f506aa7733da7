"""The errors for faults during the execution of PTX."""

from __future__ import annotations


class Fault(RuntimeError):
    """Raised if the behaviour of a device would be undefined, or if the device would stop.

    Parameters
    ----------
    kind : str
        One of "bounds", "alignment", "uninitialised", "barrier", "deadlock", "race", "host" and "limit".
    message : str
        A description of the fault, with the instruction.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind


class NotUnderstood(ValueError):
    """Raised for PTX that the interpreter does not know: an opcode, a form of operand, a directive."""
