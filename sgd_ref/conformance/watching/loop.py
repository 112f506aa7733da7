"""The interface that ``watch`` needs from the training loop of a framework."""

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
        The name of the optimizer in the report.
    parameters : sequence of Parameter
        All parameters that the optimizer updates.
    rule : Rule
        The rule that the optimizer is held to.
    notes : list of str
        Sentences that the report shows its readers.
    calls : int
        The number of calls of the optimizer before the loop.
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
        """Report each step to a recorder from now on."""

    def stop(self) -> None:
        """Stop watching, and restore everything as it was."""
