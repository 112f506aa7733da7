"""The variables that weight decay does not change."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from sgd_ref.arithmetic.formats import Array
from sgd_ref.base.aliasing import is_same_memory
from sgd_ref.validation import ndarray, reject_type, text


@dataclass(frozen=True)
class Exclusion:
    """Variables excluded from weight decay, by identity and by parts of their names."""

    variables: tuple[Array, ...] = ()
    substrings: tuple[str, ...] = ()

    @classmethod
    def checked(cls, var_list: Any, var_names: Any) -> Self:
        """Return the exclusion that the arguments of ``exclude_from_weight_decay`` ask for.

        Raises
        ------
        TypeError
            If `var_list` is not a list of ndarrays or `var_names` not a list of strings.
        ValueError
            If one of the strings is empty.
        """
        variables = [] if var_list is None else var_list
        if not isinstance(variables, (list, tuple)):
            reject_type("var_list", var_list, "a list of ndarrays")
        for index, variable in enumerate(variables):
            ndarray(f"var_list[{index}]", variable)
        substrings = [] if var_names is None else var_names
        if not isinstance(substrings, (list, tuple, set, frozenset)):
            reject_type("var_names", var_names, "a list of strings")
        for index, substring in enumerate(substrings):
            # An empty string is part of every name.
            text(f"var_names[{index}]", substring)
        return cls(tuple(variables), tuple(substrings))

    def decayed(self, variables: Sequence[Array], names: Sequence[str]) -> list[bool]:
        """Return for each variable whether weight decay applies to it.

        Raises
        ------
        ValueError
            If an excluded array is not among the variables.

        Warns
        -----
        UserWarning
            If a substring is part of no name.
        """
        for index, excluded in enumerate(self.variables):
            if not any(is_same_memory(excluded, variable) for variable in variables):
                raise ValueError(
                    f"var_list[{index}] must be one of the {len(variables)} variables, "
                    f"got another array of shape {excluded.shape} and dtype {excluded.dtype}"
                )
        for substring in self.substrings:
            if not any(substring in name for name in names):
                warnings.warn(f"var_names: {substring!r} is part of no name in {list(names)}", stacklevel=4)
        return [
            not any(is_same_memory(excluded, variable) for excluded in self.variables)
            and not any(substring in name for substring in self.substrings)
            for variable, name in zip(variables, names, strict=True)
        ]
