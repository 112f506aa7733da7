"""The first look at gradients that are spread over ranks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from numba_kernels.torch.shards import parts_alike

OWN, EQUAL = ["Shard(0)"], ["Shard(0)"]


def spread(spec: Any, part: str) -> Any:
    return SimpleNamespace(_spec=spec, _local_tensor=part)


PARAMETERS = [spread(OWN, "w"), spread(OWN, "v")]


@pytest.mark.parametrize(
    ("gradients", "expected"),
    [
        ([spread(OWN, "a"), spread(OWN, "b")], ["a", "b"]),
        # Whether another description means the same is no question for a first look.
        ([spread(OWN, "a"), spread(EQUAL, "b")], None),
        ([spread(OWN, "a"), None], None),
        ([spread(OWN, "a"), SimpleNamespace()], None),
    ],
    ids=["the same", "another", "missing", "plain"],
)
def test_a_first_look_takes_only_gradients_with_the_description_of_their_parameters(
    gradients: Any, expected: Any
) -> None:
    assert parts_alike(gradients, PARAMETERS) == expected
    assert parts_alike(gradients, [SimpleNamespace(), *PARAMETERS[1:]]) is None
