"""A loop of some framework, as ``watch`` needs it."""

from __future__ import annotations

from typing import Any, Protocol

from sgd_ref.conformance.watching.recorder import Recorder
from sgd_ref.conformance.watching.settings import Rule
from sgd_ref.conformance.watching.steps import Parameter


class Loop(Protocol):
    """A loop that can be watched.

    Attributes
    ----------
    name : str
        The optimizer, for the report.
    parameters : sequence of Parameter
        All that it updates.
    rule : Rule
        What it is held to.
    notes : list of str
        What a reader of the report is to know.
    calls : int
        Calls of the optimizer before the loop.
    optimizer : Any
        The optimizer to use in the loop.
    """

    name: str
    parameters: list[Parameter]
    rule: Rule
    notes: list[str]
    calls: int
    optimizer: Any

    def start(self, recorder: Recorder) -> None:
        """Tell a recorder of each step from now on."""

    def stop(self) -> None:
        """Leave everything as it was."""
