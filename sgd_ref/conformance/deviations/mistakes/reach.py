"""Mistakes that update only some elements or variables: in blocks, in launches, in loops that end early."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import Array
from sgd_ref.base.call import Call
from sgd_ref.base.state import State
from sgd_ref.conformance.deviations.mistakes.elements import ElementsSkipped
from sgd_ref.conformance.deviations.mistakes.exclusion import OtherExclusion
from sgd_ref.conformance.deviations.mistakes.mistake import mistake
from sgd_ref.conformance.deviations.mistakes.structure_of_state import form
from sgd_ref.optimizer import SGD, Gradients, Values

LARGEST = 1024
"""The number of elements of the largest variable that is updated."""

THREADS = 256
"""The number of elements that one block of a device updates."""

TILE = 64
"""The number of elements that are loaded at once, even if fewer are left."""

WHOLE = 32
"""The number of elements of a block, or of variables of a launch."""

GROUP = 64
"""The number of variables of a launch, for a kernel that reads two lists of arrays."""

SLOTS = 110
"""The number of variables for which the table of a launch has room."""


class VariablesSkipped(SGD):
    """The common base of mistakes that do not update some variables, as if these had no gradient."""

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Update the other variables."""
        reached = self.reached(values.variables, gradients)
        chosen: Gradients = [g if mine else None for g, mine in zip(gradients, reached, strict=True)]
        return super().update(values, chosen, call)

    def reached(self, variables: list[Array], gradients: Gradients) -> Sequence[bool]:
        """Return for each variable whether it is updated."""
        return [True] * len(variables)


class LastVariableSkipped(VariablesSkipped):
    """The last variable is not updated.

    Evidence: no report is known.
    """

    def reached(self, variables: list[Array], gradients: Gradients) -> Sequence[bool]:
        """Stop one too early."""
        return [True] * (len(variables) - 1) + [False]


class LastVariableOnly(VariablesSkipped):
    """Only the last variable that has a gradient is updated, as by a closure that is made in a loop.

    Evidence: no report is known.
    """

    def reached(self, variables: list[Array], gradients: Gradients) -> Sequence[bool]:
        """Update only the last variable that has a gradient."""
        last = max((i for i, gradient in enumerate(gradients) if gradient is not None), default=-1)
        return [position == last for position in range(len(variables))]


class MissingEndsLoop(VariablesSkipped):
    """No variable after the first one without a gradient is updated.

    The core code goes on with the next variable. Evidence: no report is known.
    """

    def reached(self, variables: list[Array], gradients: Gradients) -> Sequence[bool]:
        """Stop at the first missing gradient."""
        return _until([gradient is None for gradient in gradients])


class EmptyEndsLoop(VariablesSkipped):
    """No variable after the first one without elements is updated.

    Evidence: no report is known.
    """

    def reached(self, variables: list[Array], gradients: Gradients) -> Sequence[bool]:
        """Stop at the first empty variable."""
        return _until([variable.size == 0 for variable in variables])


class EmptyLastLosesLaunch(VariablesSkipped):
    """Where the last variable has no elements, no variable is updated, since its blocks start the launch.

    Evidence: a group of parameters that ended with an empty one,
    https://github.com/NVIDIA/TransformerEngine/issues/3207.
    """

    def reached(self, variables: list[Array], gradients: Gradients) -> Sequence[bool]:
        """Update nothing if there is no launch."""
        return [variables[-1].size > 0] * len(variables)


class OneElementSkipped(VariablesSkipped):
    """Variables with axes and one element are taken for numbers, and not updated.

    Evidence: no report is known.
    """

    def reached(self, variables: list[Array], gradients: Gradients) -> Sequence[bool]:
        """Update the other variables, which are scalars or have more elements."""
        return [variable.size != 1 or variable.ndim == 0 for variable in variables]


class LargeVariablesSkipped(VariablesSkipped):
    """Variables of more elements than a limit are not updated.

    Evidence: one above 65,536, https://github.com/deepspeedai/DeepSpeed/issues/7640.
    """

    def reached(self, variables: list[Array], gradients: Gradients) -> Sequence[bool]:
        """Update the smaller variables."""
        return [variable.size <= LARGEST for variable in variables]


class VariablesAboveSlotsSkipped(VariablesSkipped):
    """The table of a launch for many variables has 110 places, and what does not fit is not updated.

    Evidence: no report is known.
    """

    def reached(self, variables: list[Array], gradients: Gradients) -> Sequence[bool]:
        """Update the variables that fit into the table."""
        return [position < SLOTS for position in range(len(variables))]


class LastLaunchLost(VariablesSkipped):
    """Of more than 32 variables those after the last 32 of a full launch are not updated.

    Evidence: no report is known.
    """

    def reached(self, variables: list[Array], gradients: Gradients) -> Sequence[bool]:
        """Update the variables of full launches."""
        count = len(variables)
        full = count if count <= WHOLE else count - count % WHOLE
        return [position < full for position in range(count)]


class MoreThanFourAxesSkipped(VariablesSkipped):
    """Variables of more than four axes are not updated.

    Evidence: no report is known.
    """

    def reached(self, variables: list[Array], gradients: Gradients) -> Sequence[bool]:
        """Update the variables of at most four axes."""
        return [variable.ndim <= 4 for variable in variables]


class LaterLaunchesTakeFirstGradients(SGD):
    """Each 64 variables are a launch, and all launches read the gradients of the first one.

    If a gradient has another shape or dtype than its variable, it is not used. Evidence: no report is known.
    """

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Update with the gradients of the first launch."""
        first: Gradients = []
        for position, g in enumerate(gradients):
            other = gradients[position % GROUP]
            fits = g is not None and other is not None and form(other) == form(g)
            first.append(other if fits else g)
        return super().update(values, first, call)


class FirstMatrixOnly(ElementsSkipped):
    """Of a variable with more than two axes, only the first matrix is updated.

    Evidence: no report is known.
    """

    def skipped(self, position: Array, w: Array) -> Any:
        """Skip the elements after the first matrix."""
        return position >= (w.size if w.ndim <= 2 else w.shape[-1] * w.shape[-2])


class ElementsPastBlockSkipped(ElementsSkipped):
    """Of each variable one block of 256 elements is updated, and not those past it.

    Evidence: no report is known.
    """

    def skipped(self, position: Array, w: Array) -> Any:
        """Skip the elements after the block."""
        return position >= THREADS


class IndicesOf16Bits(SGD):
    """Gradients are read at indices of 16 bits, so that element 65536 gets the gradient of element 0.

    Evidence: no report is known.
    """

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Update with the elements at these indices."""

        def read(g: Array) -> Array:
            return np.ravel(g)[np.arange(g.size) % 2**16].reshape(g.shape) if g.size > 2**16 else g

        return super().update(values, [None if g is None else read(g) for g in gradients], call)


class LastWholeBlockSkipped(ElementsSkipped):
    """Of a variable that consists of whole blocks of 32 elements the last block is not updated.

    The number of blocks is too small by one. Evidence: no report is known.
    """

    def skipped(self, position: Array, w: Array) -> Any:
        """Skip the last block."""
        return position >= (w.size - WHOLE if w.size % WHOLE == 0 else w.size)


class LastBlockTwice(SGD):
    """The last 64 elements are one block, and those that an earlier block had are updated once more.

    Evidence: no report is known.
    """

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Update the elements that are in two blocks again."""
        once = super().update(values, gradients, call)
        twice = super().update(once, gradients, call)

        def mixed(first: list[Array], second: list[Array]) -> list[Array]:
            return [
                np.where(_in_two_tiles(w), other, one)
                for w, one, other in zip(call.state.variables, first, second, strict=False)
            ]

        return Values(
            mixed(once.variables, twice.variables),
            mixed(once.velocities, twice.velocities),
            once.averages,
            once.accumulators,
        )


class ThreeAxesInMemoryOrder(SGD):
    """Gradients of three and more axes are read with the first axis running fastest.

    Evidence: parameters of three axes that were treated differently,
    https://github.com/microsoft/dion/pull/121.
    """

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Update with the elements in another order."""
        read: Gradients = [
            g if g is None or g.ndim < 3 else np.ravel(g, order="F").reshape(g.shape) for g in gradients
        ]
        return super().update(values, read, call)


class EmptyMakesNormNan(SGD):
    """Under a global norm a gradient without elements counts as NaN, being a mean of nothing.

    Evidence: no report is known.
    """

    def clip_by_global_norm(self, gradients: Gradients, clipnorm: float) -> Gradients:
        """Clip by NaN if a gradient is empty."""
        clipped = super().clip_by_global_norm(gradients, clipnorm)
        if all(gradient is None or gradient.size for gradient in gradients):
            return clipped
        return [None if g is None else np.full_like(g, np.nan) for g in clipped]


class ExclusionByFirstPart(OtherExclusion):
    """With a variable all are excluded from decay whose names begin alike, up to the first underscore.

    The documentation excludes variables by their own names. Evidence: no report is known.
    """

    def fresh_state(self, variables: Sequence[Array], names: Sequence[str] | None) -> State:
        """Exclude all names that begin like an excluded one."""
        state = super().fresh_state(variables, names)
        excluded = {
            name.partition("_")[0]
            for name, applies in zip(state.names, state.decayed, strict=True)
            if not applies
        }
        state.decayed = [name.partition("_")[0] not in excluded for name in state.names]
        return state


class ExclusionByPlace(SGD):
    """The variables that decay are found by positions among the gradients that are present.

    The core code asks each variable. Evidence: no report is known.
    """

    def decay(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Choose the decayed variables by positions among the gradients that are present."""
        kept = call.state.decayed
        places = np.cumsum([0, *(gradient is not None for gradient in gradients)])
        call.state.decayed = [kept[place] for place in places[:-1]]
        try:
            return super().decay(values, gradients, call)
        finally:
            call.state.decayed = kept


def _until(stops: list[bool]) -> list[bool]:
    end = stops.index(True) if True in stops else len(stops)
    return [position < end for position in range(len(stops))]


def _in_two_tiles(w: Array) -> Array:
    position = np.arange(w.size).reshape(w.shape)
    is_partial = w.size > TILE and w.size % TILE != 0
    return (position >= w.size - TILE) & (position < w.size - w.size % TILE) & is_partial


REACH = (
    mistake("last-variable-skipped", LastVariableSkipped),
    mistake("last-variable-only", LastVariableOnly),
    mistake("missing-ends-the-loop", MissingEndsLoop),
    mistake("empty-ends-the-loop", EmptyEndsLoop),
    mistake("empty-last-loses-the-launch", EmptyLastLosesLaunch),
    mistake("one-element-skipped", OneElementSkipped),
    mistake("large-variables-skipped", LargeVariablesSkipped),
    mistake("variables-above-slots-skipped", VariablesAboveSlotsSkipped),
    mistake("last-launch-lost", LastLaunchLost),
    mistake("more-than-four-axes-skipped", MoreThanFourAxesSkipped),
    mistake("later-launches-take-first-gradients", LaterLaunchesTakeFirstGradients),
    mistake("first-matrix-only", FirstMatrixOnly),
    mistake("elements-past-a-block-skipped", ElementsPastBlockSkipped),
    mistake("indices-of-16-bits", IndicesOf16Bits),
    mistake("last-whole-block-skipped", LastWholeBlockSkipped),
    mistake("last-block-updated-twice", LastBlockTwice),
    mistake("three-axes-in-memory-order", ThreeAxesInMemoryOrder),
    mistake("empty-makes-norm-nan", EmptyMakesNormNan),
    mistake("exclusion-by-first-part-of-a-name", ExclusionByFirstPart),
    mistake("exclusion-by-place-among-gradients", ExclusionByPlace),
)
