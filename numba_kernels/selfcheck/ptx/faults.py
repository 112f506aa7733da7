"""The error that a kernel or a program made while its PTX was executed."""

from __future__ import annotations


class Fault(RuntimeError):
    """Raised where a device would do something that no result may depend on, or would stop.

    Parameters
    ----------
    kind : str
        One of "bounds", "alignment", "uninitialised", "barrier", "deadlock", "race", "host" and "limit".
    message : str
        What was wrong, with the instruction.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind


class NotUnderstood(ValueError):
    """Raised for PTX that the interpreter does not know: an opcode, a form of operand, a directive."""
