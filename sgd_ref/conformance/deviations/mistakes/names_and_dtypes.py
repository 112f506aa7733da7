"""Mistakes about similar names, and about dtypes: the dtype of another variable, or of a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT16, Array
from sgd_ref.arithmetic.rounded import convert
from sgd_ref.base.call import Call
from sgd_ref.conformance.deviations.mistakes.mistake import each, mistake
from sgd_ref.conformance.deviations.mistakes.structure_of_state import VelocityOfAnother, form
from sgd_ref.optimizer import SGD, Gradients, Values

SIGNIFICANT = 24
"""The number of characters of a name that are compared."""


class VelocityByKey(VelocityOfAnother):
    """The common base of mistakes in which names with the same key share a velocity."""

    def owners(self, velocities: list[Array], gradients: Gradients) -> list[int]:
        """Use the velocity of the first variable with the same key."""
        first: dict[Any, int] = {}
        keys = [(self.key(name), *form(v)) for name, v in zip(self._names, velocities, strict=True)]
        return [first.setdefault(key, position) for position, key in enumerate(keys)]

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Update by the names of the variables."""
        self._names = call.state.names
        return super().update(values, gradients, call)

    def key(self, name: str) -> str:
        """Return the key by which a velocity is looked up."""
        return name


class VelocityByLowerCase(VelocityByKey):
    """Velocities are looked up by names in lower case, so that `Kernel` and `kernel` have the same one.

    The documentation has a velocity of each variable. Evidence: no report is known.
    """

    def key(self, name: str) -> str:
        """Ignore the case of letters."""
        return name.lower()


class VelocityByStartOfName(VelocityByKey):
    """Velocities are looked up by the first 24 characters of a name.

    The documentation has a velocity of each variable. Evidence: no report is known.
    """

    def key(self, name: str) -> str:
        """Use the beginning of the name."""
        return name[:SIGNIFICANT]


class VelocityByLastPartOfName(VelocityByKey):
    """Velocities are looked up by what follows the last slash of a name, as layers name their variables.

    The documentation has a velocity of each variable. Evidence: a mapping by names that several variables
    had, https://github.com/larq/larq/pull/735.
    """

    def key(self, name: str) -> str:
        """Use the last part of the name."""
        return name.rpartition("/")[2]


class DtypeOfFirst(SGD):
    """All gradients pass through the dtype of the first variable.

    The core code computes in the dtype of each variable. Evidence: no report is known.
    """

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Round the gradients to the dtype of the first variable."""
        first = values.variables[0].dtype

        def passed(g: Array) -> Array:
            return convert(convert(g, first), g.dtype)

        return super().update(values, each(gradients, passed), call)


class HalvesOfFirstHalf(SGD):
    """Gradients of both half types are read in the half type of the first half variable.

    The gradients seem to come from one buffer of 16-bit numbers of one dtype. Evidence: no report is known.
    """

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Read the bits of the other gradients as numbers of this dtype."""
        first = next((w.dtype for w in values.variables if w.dtype in (FLOAT16, BFLOAT16)), None)

        def read(g: Array) -> Array:
            if first is None or g.dtype not in (FLOAT16, BFLOAT16) or g.dtype == first:
                return g
            return convert(g.view("u2").view(first), g.dtype)

        return super().update(values, each(gradients, read), call)


class RestoredThroughHalf(SGD):
    """Velocities are kept in float16 from a save to a restore, whatever their dtype.

    The documentation has state in the dtype of the variable. Evidence: no report is known.
    """

    def assign_weights(self, values: Sequence[Any]) -> Any:
        """Set the state, then round the velocities."""
        rate = super().assign_weights(values)
        for velocity in self.velocities:
            velocity[...] = convert(convert(velocity, FLOAT16), velocity.dtype)
        return rate


NAMES_AND_DTYPES = (
    mistake("velocity-by-name-in-lower-case", VelocityByLowerCase),
    mistake("velocity-by-start-of-name", VelocityByStartOfName),
    mistake("velocity-by-last-part-of-name", VelocityByLastPartOfName),
    mistake("dtype-of-first-variable-for-all", DtypeOfFirst),
    mistake("halves-read-as-the-first-half", HalvesOfFirstHalf),
    mistake("velocities-restored-through-half", RestoredThroughHalf),
)
