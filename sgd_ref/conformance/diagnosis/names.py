"""Names of known deviations that explain a divergence together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sgd_ref.conformance.deviations import DEVIATIONS

Names = tuple[str, ...]

MUCH_MORE, FEW = 1.5, 8
"""An explanation is dropped if it leaves more than 1.5 times the other bits of the best one, plus 8."""


@dataclass(frozen=True)
class Explained:
    """Deviations that explain a divergence, and how many elements have other bits than theirs."""

    names: Names
    differing: int = 0

    @property
    def is_exact(self) -> bool:
        """Whether the deviations give the very same bits."""
        return self.differing == 0


def are_roundings(names: Names) -> bool:
    """Whether deviations only round differently.

    >>> are_roundings(("update-fused",)), are_roundings(("update-fused", "ascends"))
    (True, False)
    """
    return all(DEVIATIONS[name].kind == "rounding" for name in names)


def supported(found: Iterable[Explained]) -> list[Explained]:
    """Return explanations, the best supported first, without those that have much less support.

    The trajectory is within the bounds of each of them. But bounds may be wide, and the right one leaves
    the fewest bits to roundings.

    >>> strong, weak = Explained(("ascends",), 3), Explained(("dampened",), 90)
    >>> supported([weak, strong])
    [Explained(names=('ascends',), differing=3)]
    """
    ordered = sorted(found, key=lambda one: one.differing)
    return [one for one in ordered if one.differing <= MUCH_MORE * ordered[0].differing + FEW]
