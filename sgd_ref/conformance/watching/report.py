"""The report on a loop that was watched."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from sgd_ref.conformance.bounds.violation import Violation
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.deviations.forms import SumsKept
from sgd_ref.conformance.golden.tools.recording import write_recorded
from sgd_ref.conformance.watching.loop import Loop
from sgd_ref.conformance.watching.naming import Mistake, named
from sgd_ref.conformance.watching.recorder import Recorder
from sgd_ref.conformance.watching.sample import original_index
from sgd_ref.conformance.watching.window import Seen, around

NOT_SHOWN = "the optimizer does not show its velocities, so that these steps by themselves are no case"


class Report:
    """The result of watching a loop; complete when the block of ``watch`` is left.

    Parameters
    ----------
    loop : Loop
        The loop that is watched.
    recorder : Recorder
        The recorder that has seen the steps of the loop.

    Attributes
    ----------
    name : str
        The name of the optimizer.
    rule : Dialect
        The rule that the optimizer is held to.
    optimizer : Any
        The optimizer to use inside of the block: with Optax the transformation that is watched, and otherwise
        the optimizer that was given.
    """

    def __init__(self, loop: Loop, recorder: Recorder) -> None:
        self.name, self.rule, self.optimizer = loop.name, loop.rule.dialect, loop.optimizer
        self._loop, self._recorder = loop, recorder

    @property
    def ok(self) -> bool:
        """Whether there was a step, and all steps are as defined."""
        return self.steps > 0 and self._recorder.finding is None

    @property
    def steps(self) -> int:
        """The number of steps."""
        return self._recorder.number

    @property
    def exact(self) -> int:
        """The number of steps that have the bits of the rule, with each operation rounded once."""
        return self._recorder.exact

    @property
    def step(self) -> int | None:
        """The first step that is not as defined, counted from 0; None where all are."""
        return None if self._recorder.finding is None else self._recorder.found_in

    @cached_property
    def violation(self) -> Violation | None:
        """The first value that no evaluation of the rule gives: its place, and the possible values.

        Its `call` is the step, and its `element` the index in the parameter.
        """
        finding = self._recorder.finding
        if finding is None or finding.violation is None:
            return None
        element = finding.violation.element
        if finding.violation.variable:
            parameter = self._recorder.parameters[finding.position]
            element = original_index(parameter, self._recorder.elements[finding.position], element)
        return replace(finding.violation, call=self._recorder.found_in, element=element)

    @cached_property
    def mistake(self) -> Mistake | None:
        """The explanation of the finding. The first access searches for it, which takes some seconds."""
        seen = self._seen
        return None if seen is None else named(seen)

    @cached_property
    def _seen(self) -> Seen | None:
        finding = self._recorder.finding
        if finding is None or finding.group is None:
            return None
        recorder = self._recorder
        return around(recorder.steps, recorder.found_in, finding.group, recorder.parameters, recorder.basis)

    @property
    def case(self) -> Case | None:
        """The steps around the finding as a case of the kit; None where there is no finding."""
        return None if self._seen is None else self._seen.case

    @property
    def notes(self) -> list[str]:
        """Notes for the reader, such as on parameters that are left out, or changed between steps."""
        changed = self._recorder.changed_between
        if not changed:
            return list(self._loop.notes)
        steps = ", ".join(map(str, changed[:5])) + (", ..." if len(changed) > 5 else "")
        return [*self._loop.notes, f"something else changed weights or state before steps {steps}"]

    @property
    def seconds(self) -> float:
        """The seconds that watching took, without the search for the mistake."""
        return self._recorder.seconds

    def take_gradients(self) -> None:
        """Take the present gradients as those of the next step. Only loops of PyTorch need it.

        If a ``GradScaler`` unscales gradients, call it after that and before the gradients are clipped.
        Otherwise the gradients are taken at the right moment without this call.

        Raises
        ------
        TypeError
            If no loop of PyTorch is watched.
        """
        take = getattr(self._loop, "take_gradients", None)
        if take is None:
            raise TypeError("take_gradients must be called while a loop of PyTorch is watched")
        take()

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Write the steps around the finding as a case, with the values that were seen, in the golden format.

        ``sgd-ref explain FILE`` shows the case step by step beside the rule, which the file names, and
        ``conformance.compare_recorded(run, FILE)`` runs it. PyTorch and Optax keep sums of gradients instead
        of velocities. These sums are left out of the values that were seen. In the state from which a case
        resumes, they are multiplied by the rate, and rounded.

        Parameters
        ----------
        path : path
            The file. Its name must end with ``.json``.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        ValueError
            If there is no finding, or a norm needs elements that were not sampled.
        OSError
            If the file cannot be written.
        """
        seen = self._seen
        if seen is None:
            raise ValueError(
                NOT_SHOWN if self.step is not None else "all steps are as defined: there is no case"
            )
        if not seen.is_whole:
            raise ValueError(
                "a case with a norm can be written only where all elements were looked at: "
                "watch with sample=None"
            )
        case, trajectory = documented(seen)
        write_recorded(case, trajectory, Path(path), self.rule)
        return Path(path)

    def __str__(self) -> str:
        recorder = self._recorder
        looked = sum(
            parameter.size if elements is None else elements.size
            for parameter, elements in zip(recorder.parameters, recorder.elements, strict=True)
        )
        total = sum(parameter.size for parameter in recorder.parameters)
        held = f"{self.name}, held to {self.rule}"
        if not self.steps:
            lines = [f"{held}: no step was made"]
        elif self.violation is None:
            rounded = self.steps - self.exact
            lines = [f"{held}: as defined for {self.steps} steps, {self.exact} exact, {rounded} rounding"]
        else:
            where = str(self.violation).removeprefix("call ")
            mistake = NOT_SHOWN if self.mistake is None else self.mistake.explained()
            lines = [f"{held}: not as defined", f"step {where}", mistake]
        lines.append(
            f"{looked:,} of {total:,} elements looked at in each step, in {self.seconds:.2f} s together"
        )
        return "\n".join([*lines, *self.notes])


def documented(seen: Seen) -> tuple[Case, list[dict[str, Any]]]:
    """Return a case and the trajectory that was seen, with velocities in the form of the definition.

    Sums that do not contain the rate are left out of the trajectory. In the state from which the case
    resumes, they are multiplied by the rate, which rounds them.
    """
    if SumsKept not in seen.basis.forms:
        return seen.case, seen.trajectory
    case = seen.case
    trajectory = [{k: v for k, v in record.items() if k != "velocities"} for record in seen.trajectory]
    if case.state is not None and case.state.velocities:
        rate = case.rate(0)
        velocities = tuple(-(v * v.dtype.type(rate)) for v in case.state.velocities)
        notes = f"{case.notes}; the velocities before it were sums without the rate, and are rounded here"
        case = replace(case, state=replace(case.state, velocities=velocities), notes=notes)
    return case, trajectory
