"""DTensors: parameters of which each rank holds a part, such as those that ``fully_shard`` makes.

The kernels work on the part on this rank, which is a plain tensor. The state that users see is a DTensor with
the placements of its parameter, so that checkpoints know which rank holds which part.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import Any

import torch

if torch.distributed.is_available():
    from torch.distributed.tensor import DTensor
else:

    class DTensor:  # type: ignore[no-redef]
        """A stand-in without instances, for a PyTorch without DTensors."""


_part_of, _spec_of = operator.attrgetter("_local_tensor"), operator.attrgetter("_spec")


def is_spread(tensor: Any) -> bool:
    """Whether a tensor is a DTensor."""
    return isinstance(tensor, DTensor)


def part_of(tensor: Any) -> Any:
    """Return the part of a tensor on this rank, in the same memory; a plain tensor is returned whole.

    >>> part_of(torch.ones(2))
    tensor([1., 1.])
    """
    return _part_of(tensor) if isinstance(tensor, DTensor) else tensor


def parts_of(tensors: Sequence[Any]) -> list[Any]:
    """Return the part of each tensor."""
    return [part_of(tensor) for tensor in tensors]


def check_placements(name: str, parameter: Any) -> None:
    """Check that a DTensor holds its elements, and not terms whose sums are the elements.

    Raises
    ------
    ValueError
        If a placement is partial.
    """
    if is_spread(parameter) and any(placement.is_partial() for placement in parameter.placements):
        raise ValueError(
            f"{name} must be sharded or replicated in each dimension of its mesh, got the placements "
            f"{parameter.placements}"
        )


def parts_alike(tensors: Sequence[Any], parameters: Sequence[Any]) -> list[Any] | None:
    """Return the part of each tensor, if each lies on the ranks of its parameter at a first look.

    ``fully_shard`` gives a gradient the very description that its parameter has, so that nothing in the two
    has to be compared. Otherwise None is returned, and `check_alike` has to look at each pair.
    """
    try:
        if all(map(operator.is_, map(_spec_of, tensors), map(_spec_of, parameters))):
            return list(map(_part_of, tensors))
    except AttributeError:
        # One of them is a plain tensor, or there is none.
        return None
    return None


def check_alike(name: str, tensor: Any, parameter: Any) -> None:
    """Check that a tensor lies on the same ranks as its parameter.

    Raises
    ------
    TypeError
        If only one of the two is a DTensor.
    ValueError
        If its mesh or its placements differ. Terms of a sum are not added here: the bits of the sum would
        depend on the number of ranks.
    """
    if not is_spread(parameter):
        if is_spread(tensor):
            raise TypeError(f"{name} must be a plain tensor, as its parameter is, got a DTensor")
        return
    if not is_spread(tensor):
        raise TypeError(f"{name} must be a DTensor, as its parameter is, got a {type(tensor).__name__}")
    own, expected = _spec_of(tensor), _spec_of(parameter)
    if own.placements != expected.placements or own.mesh != expected.mesh:
        raise ValueError(
            f"{name} must have the placements {expected.placements} on {expected.mesh}, as its parameter, "
            f"got {own.placements} on {own.mesh}; redistribute it first"
        )
    if own.shape != expected.shape:
        raise ValueError(f"{name} must have the shape {tuple(expected.shape)}, got {tuple(own.shape)}")


def spread_like(parameter: Any, part: Any) -> Any:
    """Return a tensor on the same ranks as a parameter, whose part on this rank is in the given memory."""
    if not is_spread(parameter):
        return part
    return DTensor.from_local(
        part,
        parameter.device_mesh,
        parameter.placements,
        run_check=False,
        shape=parameter.shape,
        stride=parameter.stride(),
    )


def is_counted_here(parameter: Any, rank: int, are_own: bool) -> bool:
    """Whether this rank counts its part of a parameter, so that each element is counted once.

    Parameters
    ----------
    parameter : Tensor
        A parameter of an optimizer.
    rank : int
        The rank of this process among the ranks of the optimizer.
    are_own : bool
        Whether each rank has plain parameters of its own; otherwise all ranks have the same.
    """
    if not is_spread(parameter):
        return are_own or rank == 0
    place = parameter.device_mesh.get_coordinate()
    return place is not None and all(
        index == 0
        for index, placement in zip(place, parameter.placements, strict=True)
        if placement.is_replicate()
    )


def ranks_of(parameters: Iterable[Any]) -> list[int]:
    """Return the global ranks of the meshes on which DTensors lie."""
    members: set[int] = set()
    for parameter in parameters:
        if is_spread(parameter):
            members.update(parameter.device_mesh.mesh.flatten().tolist())
    return sorted(members)


def form_of(name: str, parameter: Any) -> list[Any]:
    """Return the properties of a parameter that must be the same on all ranks, as plain data."""
    placements = mesh = None
    if is_spread(parameter):
        placements, mesh = str(parameter.placements), parameter.device_mesh.mesh.tolist()
    return [name, str(parameter.dtype), list(parameter.shape), placements, mesh]
