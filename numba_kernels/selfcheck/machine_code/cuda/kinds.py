"""The kind of a kernel, from its name."""

from __future__ import annotations

import re
from typing import NamedTuple

from sgd_ref.arithmetic.formats import BY_NAME

DTYPES = "|".join(BY_NAME)

UPDATE = re.compile(
    rf"update_(?P<dtype>{DTYPES})_(?P<momentum>no_momentum|momentum|nesterov)"
    r"_(?P<gradient>plain|divided|accumulated)(?P<averages>_averages)?(?P<wide>_wide)?"
)

OF_A_NORM = ("sum_", "exact_", "decide_", "finish_")


class Kind(NamedTuple):
    """The kind of a kernel, which decides its requirements.

    Attributes
    ----------
    has_float64 : bool
        Whether variables are in float64, or narrower gradients are clipped by a factor in float64.
    is_elementwise : bool
        Whether it updates variables, each element by itself.
    divides : bool
        Whether elements are divided.
    is_of_a_norm : bool
        Whether it contributes to a norm, which is computed with more digits than the dtype has.
    reads, writes : int
        The numbers of arrays of the variables' shape that an elementwise kernel reads and writes; 0 for other
        kernels.
    """

    has_float64: bool
    is_elementwise: bool
    divides: bool
    is_of_a_norm: bool
    reads: int
    writes: int

    @property
    def rounds_plainly(self) -> bool:
        """Whether each operation of the source is one instruction, without the expansion of a division."""
        return not self.divides and not self.is_of_a_norm


def kind_of(name: str) -> Kind:
    """Return the kind of the kernel with this name.

    Raises
    ------
    ValueError
        If the name begins like that of an elementwise kernel, but does not continue like one.

    Examples
    --------
    >>> kind_of("update_float32_nesterov_plain_averages")
    Kind(has_float64=False, is_elementwise=True, divides=False, is_of_a_norm=False, reads=4, writes=3)
    """
    match = UPDATE.fullmatch(name)
    if match:
        # The variable and its state; the gradient is only read.
        states = [match["momentum"] != "no_momentum", match["gradient"] == "accumulated", match["averages"]]
        writes = 1 + sum(map(bool, states))
        has_float64 = match["dtype"] == "float64" or match["wide"] is not None
        return Kind(has_float64, True, match["gradient"] != "plain", False, writes + 1, writes)
    if name.startswith("update_"):
        raise ValueError(f"the name of an elementwise kernel must be like {UPDATE.pattern}, got {name!r}")
    is_of_a_norm = name.startswith(OF_A_NORM)
    return Kind("float64" in name or is_of_a_norm, False, False, is_of_a_norm, 0, 0)
