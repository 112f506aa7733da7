"""Mistakes about the variables that are excluded from weight decay."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sgd_ref.arithmetic.formats import Array
from sgd_ref.base.call import Call
from sgd_ref.base.state import State
from sgd_ref.conformance.deviations.mistakes.mistake import mistake
from sgd_ref.optimizer import SGD, Gradients, Values


class OtherExclusion(SGD):
    """The common base of mistakes that choose other variables to decay."""

    def fresh_state(self, variables: Sequence[Array], names: Sequence[str] | None) -> State:
        """Ask ``is_decayed`` for each variable."""
        state = super().fresh_state(variables, names)
        state.decayed = [
            self.is_decayed(variable, name, applies)
            for variable, name, applies in zip(state.variables, state.names, state.decayed, strict=True)
        ]
        return state

    def is_decayed(self, variable: Array, name: str, applies: bool) -> bool:
        """Whether a variable is decayed; `applies` is the answer of the definition."""
        return applies


class ExclusionIgnored(OtherExclusion):
    """Excluded variables are decayed like all others.

    Evidence: a list of names that no variable had,
    https://github.com/huggingface/transformers/issues/4360.
    """

    def is_decayed(self, variable: Array, name: str, applies: bool) -> bool:
        """Decay everything."""
        return True


class ExclusionInverted(OtherExclusion):
    """Only the excluded variables are decayed, if there are any.

    Evidence: no report is known.
    """

    def is_decayed(self, variable: Array, name: str, applies: bool) -> bool:
        """Decay the excluded variables, and no others."""
        return not applies if self.exclusion.substrings else applies


class ExclusionByWholeName(OtherExclusion):
    """A variable is excluded only if its name is one of `var_names`, not if it contains one.

    The documentation: "If any string in `var_names` appear in the model variable's name". Evidence: no
    report is known.
    """

    def is_decayed(self, variable: Array, name: str, applies: bool) -> bool:
        """Compare whole names."""
        return name not in self.exclusion.substrings


class ExclusionByFirstName(OtherExclusion):
    """Only the first of `var_names` is looked for.

    Evidence: no report is known.
    """

    def is_decayed(self, variable: Array, name: str, applies: bool) -> bool:
        """Look only for the first string."""
        return not any(substring in name for substring in self.exclusion.substrings[:1])


class ExclusionIgnoresCase(OtherExclusion):
    """Letters are compared without their case: 'Norm' excludes 'normal'.

    The documentation: "If any string in `var_names` appear in the model variable's name". Evidence: no
    report is known.
    """

    def is_decayed(self, variable: Array, name: str, applies: bool) -> bool:
        """Compare in lower case."""
        return not any(substring.lower() in name.lower() for substring in self.exclusion.substrings)


class ExclusionAtStart(OtherExclusion):
    """A variable is excluded only if its name begins with one of `var_names`.

    The documentation: "If any string in `var_names` appear in the model variable's name". Evidence: no
    report is known.
    """

    def is_decayed(self, variable: Array, name: str, applies: bool) -> bool:
        """Look at the beginning of the name."""
        return not name.startswith(tuple(self.exclusion.substrings))


class ExclusionAtEnd(OtherExclusion):
    """A variable is excluded only if its name ends with one of `var_names`.

    The documentation: "If any string in `var_names` appear in the model variable's name". Evidence: no
    report is known.
    """

    def is_decayed(self, variable: Array, name: str, applies: bool) -> bool:
        """Look at the end of the name."""
        return not name.endswith(tuple(self.exclusion.substrings))


class ExclusionByParts(OtherExclusion):
    """A variable is excluded only if a part of its name between slashes is one of `var_names`.

    The documentation: "If any string in `var_names` appear in the model variable's name". Evidence: no
    report is known.
    """

    def is_decayed(self, variable: Array, name: str, applies: bool) -> bool:
        """Compare whole parts."""
        return not set(name.split("/")) & set(self.exclusion.substrings)


class ExclusionByAll(OtherExclusion):
    """A variable is excluded only if its name contains all of `var_names`.

    The documentation: "If any string in `var_names` appear in the model variable's name". Evidence: no
    report is known.
    """

    def is_decayed(self, variable: Array, name: str, applies: bool) -> bool:
        """Exclude names that contain every string."""
        substrings = self.exclusion.substrings
        return not substrings or not all(substring in name for substring in substrings)


class VectorsNotDecayed(OtherExclusion):
    """Variables of fewer than two axes are taken for biases and not decayed.

    The documentation leaves the choice to `exclude_from_weight_decay`. Evidence: no report is known.
    """

    def is_decayed(self, variable: Array, name: str, applies: bool) -> bool:
        """Decay matrices only."""
        return applies and variable.ndim > 1


class DecayWithoutGradient(SGD):
    """Variables without a gradient in the call are decayed, too.

    The core code drops them with their gradients (`_filter_empty_gradients` in
    `keras/src/optimizers/base_optimizer.py`). Evidence: no report is known.
    """

    def decay(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Decay as if every gradient were there."""
        filled = [
            np.zeros_like(w) if g is None else g for w, g in zip(values.variables, gradients, strict=True)
        ]
        return super().decay(values, list(filled), call)


EXCLUSION = (
    mistake("exclusion-ignored", ExclusionIgnored),
    mistake("exclusion-inverted", ExclusionInverted),
    mistake("exclusion-by-whole-name", ExclusionByWholeName),
    mistake("exclusion-by-first-name-only", ExclusionByFirstName),
    mistake("exclusion-ignores-case", ExclusionIgnoresCase),
    mistake("exclusion-at-start-of-name", ExclusionAtStart),
    mistake("exclusion-at-end-of-name", ExclusionAtEnd),
    mistake("exclusion-by-parts-of-name", ExclusionByParts),
    mistake("exclusion-by-all-names", ExclusionByAll),
    mistake("vectors-not-decayed", VectorsNotDecayed),
    mistake("decay-without-gradient", DecayWithoutGradient),
)
