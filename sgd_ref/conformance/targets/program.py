"""A program of the user: its handshake becomes the profile by which it is graded."""

from __future__ import annotations

from sgd_ref.conformance.grading.velocities import Velocities
from sgd_ref.conformance.grading.verdict import Profile
from sgd_ref.conformance.protocol.handshake import Handshake
from sgd_ref.conformance.protocol.worker import Worker


class Program(Worker):
    """A program that sends a handshake."""

    @property
    def profile(self) -> Profile:
        """The profile from its handshake."""
        return declared(self.handshake)


def declared(handshake: Handshake) -> Profile:
    """Return the profile that a handshake declares.

    Raises
    ------
    ValueError
        If there is no such rule or deviation.

    Examples
    --------
    >>> declared(Handshake("my_sgd", "1.0", velocities={"sign": -1})).velocities
    Velocities(sign=-1, without_rate=False)
    """
    return Profile(
        dtypes=frozenset(handshake.dtypes or ()),
        features={axis: frozenset(claimed) for axis, claimed in handshake.features.items()},
        hidden_wider_state=handshake.hidden_wider_state,
        flush_to_zero=handshake.flush_to_zero,
        offers=None if handshake.offers is None else tuple(handshake.offers),
        velocities=Velocities(**handshake.velocities),
        rule=handshake.rule,
        by_design=frozenset(handshake.by_design),
    )
