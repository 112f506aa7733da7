"""Loops that call ``optimizer.apply``: an attribute of the instance shadows the method of its class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from sgd_ref.arithmetic.formats import Array
from sgd_ref.conformance.watching.judge import sum_of_squares
from sgd_ref.conformance.watching.recorder import Recorder
from sgd_ref.conformance.watching.settings import Rule, rate_at
from sgd_ref.conformance.watching.steps import Group, Parameter, Values
from sgd_ref.validation import reject_value


class ApplyLoop(ABC):
    """A loop that calls ``apply``.

    Extending
    ---------
    A constructor sets all attributes of a ``Loop``, besides `group` and `declared`.
    """

    name: str
    parameters: list[Parameter]
    rule: Rule
    notes: list[str]
    calls: int
    optimizer: Any
    group: Group
    declared: dict[str, Any]

    @abstractmethod
    def current_rate(self) -> float:
        """Return the learning rate of the next call."""

    @abstractmethod
    def aligned(self, gradients: Sequence[Any], variables: Sequence[Any] | None) -> list[Any]:
        """Return the gradients in the order of the parameters, None for those that are missing."""

    @abstractmethod
    def values(self) -> Values:
        """Return the present values of the variables and the state."""

    @abstractmethod
    def array(self, native: Any, elements: Array | None) -> Array:
        """Return a copy of some elements of a native array, or of the whole array in its shape."""

    def start(self, recorder: Recorder) -> None:
        """Set ``apply`` on the instance, where it shadows the method of the class."""
        self.recorder = recorder
        self._needs_squares = recorder.needs_squares([self.group])
        self._own = vars(self.optimizer).get("apply")
        self._apply = self.optimizer.apply
        # Frameworks may look at what is set as an attribute.
        object.__setattr__(self.optimizer, "apply", self._watched)

    def stop(self) -> None:
        """Restore the instance as it was, without the shadowing ``apply``."""
        if self._own is None:
            object.__delattr__(self.optimizer, "apply")
        else:
            object.__setattr__(self.optimizer, "apply", self._own)

    def taken(self, natives: Sequence[Any]) -> list[Array]:
        """Return the sampled elements of some arrays, one array for each parameter."""
        return [
            self.array(native, elements)
            for native, elements in zip(natives, self.recorder.elements, strict=True)
        ]

    def _watched(self, *arguments: Any, **named: Any) -> Any:
        recorder = self.recorder
        if recorder.is_done:
            recorder.count()
            return self._apply(*arguments, **named)
        with recorder.timed():
            gradients, variables = _gradients_and_variables(*arguments, **named)
            natives = self.aligned(gradients, variables)
            rate = self._rate()
            taken = [
                None if native is None else self.array(native, elements)
                for native, elements in zip(natives, recorder.elements, strict=True)
            ]
            squares = None
            if self._needs_squares:
                squares = [
                    None if native is None else sum_of_squares(self.array(native, None)) for native in natives
                ]
            before = self.values()
        result = self._apply(*arguments, **named)
        with recorder.timed():
            recorder.add((self.group,), (rate,), before, taken, self.values(), squares)
        return result

    def _rate(self) -> float:
        if "learning_rate" in self.declared:
            return rate_at(self.declared["learning_rate"], self.recorder.number)
        return self.current_rate()

    def signed(self, velocities: list[Array] | None) -> list[Array] | None:
        """Return velocities in the form in which they are judged; None where their form is not read."""
        if velocities is None or self.rule.sign == 0:
            return None
        return velocities if self.rule.sign > 0 else [-array for array in velocities]


def check_names(names: Sequence[str]) -> None:
    """Check the names of the parameters.

    Raises
    ------
    ValueError
        If there is no name, or a name occurs twice.
    """
    if not names or len(set(names)) < len(names):
        reject_value("model", list(names), "at least one variable, and distinct names")


def _gradients_and_variables(
    gradients: Any = None, variables: Any = None, *, grads: Any = None, trainable_variables: Any = None
) -> tuple[list[Any], list[Any] | None]:
    given = gradients if grads is None else grads
    named = variables if trainable_variables is None else trainable_variables
    return list(given), None if named is None else list(named)
