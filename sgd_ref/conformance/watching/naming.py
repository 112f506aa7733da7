"""Naming the mistake: known deviations from the rule, a missing part of it, or another value of a setting."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from sgd_ref.conformance.bounds.running_error.judging import fit
from sgd_ref.conformance.deviations import DEVIATIONS
from sgd_ref.conformance.deviations.forms import SumsKept
from sgd_ref.conformance.diagnosis.matching import Diagnosis, diagnose, without_velocities
from sgd_ref.conformance.diagnosis.other_settings import OtherSetting, other_settings
from sgd_ref.conformance.watching.window import Seen

MOST_FOR_PAIRS = 50_000
"""The most elements, over all calls, for which pairs of mistakes are tried if no single one explains them."""


@dataclass(frozen=True)
class Mistake:
    """The explanation of a finding.

    Attributes
    ----------
    diagnosis : Diagnosis
        The known deviations from the rule that explain the finding, and where the trajectory parts from the
        rule.
    missing : tuple of str
        Parts of the rule without which everything is as defined; then `diagnosis` names nothing.
    settings : tuple of OtherSetting
        Settings of which another value explains the finding, each by itself; then `diagnosis` names nothing.
    """

    diagnosis: Diagnosis
    missing: tuple[str, ...] = ()
    settings: tuple[OtherSetting, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All known deviations that are named, alone or together.

        "not " stands before missing parts of the rule, and "other " before settings with another value.
        """
        named = [name for names in self.diagnosis.names for name in names]
        named += [f"not {name}" for name in self.missing]
        return tuple(dict.fromkeys([*named, *(f"other {setting.name}" for setting in self.settings)]))

    def __str__(self) -> str:
        if self.settings:
            return f"it equals the rule with {', or with '.join(map(str, self.settings))}"
        if not self.missing:
            return str(self.diagnosis)
        parts = " and ".join(self.missing)
        return f"it equals the rule without its part {parts}"

    def explained(self) -> str:
        """Return the mistake as text, with a sentence on each name.

        >>> print(Mistake(Diagnosis((("ascends",),))).explained())
        it equals ascends
          ascends: The gradient is followed instead of descended: ``w + learning_rate * g``.
        """
        names = dict.fromkeys(name.removeprefix("not ") for name in self.names)
        known = [name for name in names if name in DEVIATIONS]
        return "\n".join([str(self), *(f"  {name}: {DEVIATIONS[name].summary}" for name in known)])


def named(seen: Seen) -> Mistake:
    """Return the explanation of some steps that are not as defined."""
    alone = diagnose(seen.case, seen.trajectory, with_pairs=False, basis=seen.basis)
    if alone.names and alone.up_to is None:
        return Mistake(alone)
    missing = _missing(seen)
    if missing:
        return Mistake(Diagnosis(parting=alone.parting), missing)
    # Optimizers of frameworks round otherwise than the rule, so that most bits may differ by either value.
    settings = other_settings(seen.case, seen.trajectory, basis=seen.basis, share_left=math.inf)
    explaining = [setting for setting in settings if setting.calls is None]
    if explaining:
        return Mistake(Diagnosis(parting=alone.parting), settings=tuple(explaining))
    elements = sum(variable.size for variable in seen.case.variables) * len(seen.trajectory)
    together = alone if elements > MOST_FOR_PAIRS else diagnose(seen.case, seen.trajectory, basis=seen.basis)
    if together.names or not settings:
        return Mistake(together)
    # They explain the first wrong steps, which is better than nothing.
    return Mistake(Diagnosis(parting=alone.parting), settings=settings)


def _missing(seen: Seen) -> tuple[str, ...]:
    """Return a part of the rule; the rule without this part explains everything."""
    for name in seen.basis.names:
        basis = replace(seen.basis, names=tuple(other for other in seen.basis.names if other != name))
        if fit(seen.case, (), seen.trajectory, basis=basis).fits:
            return (name,)
    if SumsKept in seen.basis.forms:
        forms = tuple(form for form in seen.basis.forms if form is not SumsKept)
        shown = without_velocities(seen.trajectory)
        is_fresh = seen.case.state is None
        if shown and is_fresh and fit(seen.case, (), shown, basis=replace(seen.basis, forms=forms)).fits:
            return ("rate-outside-velocity",)
    return ()
