"""The tables of all parameter groups for the kernels, kept as long as no memory has moved."""

from __future__ import annotations

import operator
from collections import defaultdict
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from torch.nn.parameter import is_lazy

from numba_kernels.cpu.array_specs import are_same_objects
from numba_kernels.cpu.compiling import compiled_work
from numba_kernels.cpu.plan import Group
from numba_kernels.cpu.tasks import Work
from numba_kernels.cpu.tensor_specs import COMPLETE, REFUSED
from numba_kernels.shared.element import Variant
from numba_kernels.torch.gradients import Place, all_accepted
from numba_kernels.torch.memory import DTYPES, check_parameter, elements_of
from numba_kernels.torch.options import Options, OptionsOfGroup
from numba_kernels.torch.ordinary import ExpectedGradients, KnownTensors, gradients_of, identities_of
from numba_kernels.torch.rules import RuledSettings
from numba_kernels.torch.shards import (
    check_alike,
    check_placements,
    is_spread,
    part_of,
    parts_alike,
    parts_of,
    spread_like,
)
from numba_kernels.torch.state import (
    ACCUMULATOR,
    AVERAGE,
    check_state,
    completed,
    needed,
    parts_of_state,
)
from sgd_ref.arithmetic.formats import FLOAT64, Array
from sgd_ref.arithmetic.rounded import check_subnormals_are_kept, promoted
from sgd_ref.base.aliasing import OccupiedMemory
from sgd_ref.base.losses import Losses
from sgd_ref.base.state import State
from sgd_ref.base.variables import check_variables


class GroupPlan:
    """One parameter group.

    Parameters
    ----------
    places : list of Place
        Its parameters; for DTensors, the parts on this rank.
    kept : list of dict
        The tensors of state of each parameter.
    options : OptionsOfGroup
        Reads the options of the group for a call.
    settings : RuledSettings
        The settings with which the plan is made.

    Attributes
    ----------
    groups : list of Group
        One group of arrays for each dtype.
    """

    def __init__(
        self,
        places: list[Place],
        kept: list[dict[str, Any]],
        options: OptionsOfGroup,
        settings: RuledSettings,
    ) -> None:
        self.options = options
        self.kinds = needed(settings)
        variables = check_variables([elements_of(place.parameter) for place in places], "params")

        def arrays(kind: str) -> list[Array]:
            return [elements_of(tensors[kind]) for tensors in kept] if kind in self.kinds else []

        self.state = State(
            names=[place.name for place in places],
            variables=variables,
            decayed=[True] * len(places),
            velocities=arrays(settings.of_rule.velocity),
            averages=arrays(AVERAGE),
            accumulators=arrays(ACCUMULATOR),
        )
        dtypes = list(dict.fromkeys(variable.dtype for variable in variables))
        self.groups = [
            Group(
                settings,
                self.state,
                [i for i, w in enumerate(variables) if w.dtype == dtype],
                settings.of_rule.kernels,
            )
            for dtype in dtypes
        ]
        self._works: dict[tuple[Variant, int], list[Work]] = {}

    def use(self, settings: RuledSettings) -> None:
        """Write the settings of a call into the tables."""
        for group in self.groups:
            if group.constants.settings is not settings:
                group.decays[:] = settings.weight_decay is not None
                group.constants.use(settings)

    def works(self, has_scale: bool, dtypes_of_norm: Sequence[np.dtype[Any]], threads: int) -> list[Work]:
        """Return the kernels for the settings in use, one work for each dtype."""
        key = self.groups[0].constants.variant(has_scale), threads
        if key not in self._works:
            self._works[key] = [
                compiled_work(group, has_scale, dtypes_of_norm, threads) for group in self.groups
            ]
        return self._works[key]


class Plan:
    """All parameter groups of an optimizer, as they are now.

    Parameters
    ----------
    optimizer : SGD
        The plan reads its ``param_groups`` and ``state``; `keep_state` adds the missing tensors of state.
    common : RuledSettings
        The settings that all groups share.
    losses : Losses
        The warnings already given.
    others : sequence of dtype
        The dtypes of parameters that only other ranks have.

    Raises
    ------
    TypeError, ValueError
        If a parameter, a tensor of state or an option is not acceptable. Nothing has changed then.

    Attributes
    ----------
    places : list of Place
        All parameters, group by group, with their names in error messages.
    parameters : list of Tensor
        The same without names.
    slices : list of slice
        The positions of the parameters of each group among all parameters.
    """

    def __init__(
        self, optimizer: Any, common: RuledSettings, losses: Losses, others: Sequence[np.dtype[Any]] = ()
    ) -> None:
        groups, state = optimizer.param_groups, optimizer.state
        members = [named_places(index, group) for index, group in enumerate(groups)]
        self.places = list(chain.from_iterable(members))
        for name, parameter in self.places:
            check_placements(name, parameter)
            check_parameter(name, part_of(parameter))
            if is_lazy(parameter):
                raise ValueError(f"{name} must be initialized by a forward pass first, got a lazy parameter")
            if part_of(parameter).is_neg():
                raise ValueError(f"{name} must have its own sign in memory, got a view with another one")
            check_state(name, parameter, state.get(parameter, {}), common.rule)
        self.parameters = [place.parameter for place in self.places]
        self._is_spread = any(map(is_spread, self.parameters))
        self._places = [Place(name, part_of(parameter)) for name, parameter in self.places]
        _check_memory(self._places)
        parts = [place.parameter for place in self._places]
        dtypes = [DTYPES[part.dtype] for part in parts]
        # A dtype that holds the two widest of several dtypes holds all of them.
        every = [*dtypes, *others]
        self.dtypes_of_norm = list(dict.fromkeys(promoted([a, b]) for a in every for b in set(every)))
        losses.use(dtypes)
        self.slices: list[slice] = []
        readers: list[tuple[OptionsOfGroup, Options]] = []
        for index, (group, places) in enumerate(zip(groups, members, strict=True)):
            start = self.slices[-1].stop if self.slices else 0
            self.slices.append(slice(start, start + len(places)))
            options = OptionsOfGroup(index, common, dtypes[self.slices[-1]], losses)
            readers.append((options, options.read(group)))
        kinds = [needed(read.settings) for _, read in readers]
        complete = [
            [
                completed(part_of(parameter), parts_of_state(state.get(parameter, {})), kind)
                for _, parameter in places
            ]
            for places, kind in zip(members, kinds, strict=True)
        ]
        self.groups = [
            GroupPlan(self._places[part], kept, options, read.settings)
            for part, kept, (options, read) in zip(self.slices, complete, readers, strict=True)
            if kept
        ]
        self._counts = [len(places) for places in members]
        self.indices = [index for index, places in enumerate(members) if places]
        self._complete = [
            {kind: spread_like(parameter, tensor) for kind, tensor in tensors.items()}
            for parameter, tensors in zip(self.parameters, chain.from_iterable(complete), strict=True)
        ]
        written = [array for group in self.groups for _, array in group.state.named_arrays()]
        # NumPy clips narrow gradients by a factor in float64.
        self._needs_arrays = common.global_clipnorm is not None and FLOAT64 in every and len(set(every)) > 1
        self._expected = ExpectedGradients(parts, written)
        self._memory = OccupiedMemory(named for group in self.groups for named in group.state.named_arrays())
        self._state: Any = None
        self._dicts: list[dict[str, Any]] = []
        self._values: list[Any] = []
        self._identities_of_values = identities_of([])
        self._having: dict[str, list[dict[str, Any]]] = {}
        self._known = KnownTensors(self.parameters)
        self._known_state = {
            kind: KnownTensors([tensors[kind] for tensors in self._complete if kind in tensors])
            for kind in {kind for of_group in kinds for kind in of_group}
        }

    def keep_state(self, optimizer: Any) -> None:
        """Store the tensors of state of this plan in the optimizer, after all checks."""
        state = optimizer.state
        if state is self._state:
            return
        for parameter, tensors in zip(self.parameters, self._complete, strict=True):
            if tensors:
                state.setdefault(parameter, {}).update(tensors)
        self._dicts = [state.get(parameter, {}) for parameter in self.parameters]
        self._values = list(state.values())
        self._identities_of_values = identities_of(self._values)
        self._having = {
            kind: [kept for kept, tensors in zip(self._dicts, self._complete, strict=True) if kind in tensors]
            for kind in self._known_state
        }
        self._state = state

    def is_current(self, optimizer: Any) -> bool:
        """Whether all parameters and tensors of state are those of the plan, in the same memory."""
        members = [group["params"] for group in optimizer.param_groups]
        state = optimizer.state
        if (
            state is not self._state
            or len(state) != len(self._values)
            or list(map(len, members)) != self._counts
            or not self._known.are_unchanged(list(chain.from_iterable(members)))
            or not are_same_objects(list(state.values()), self._values, self._identities_of_values)
        ):
            return False
        try:
            return all(
                known.are_unchanged(list(map(operator.itemgetter(kind), self._having[kind])))
                for kind, known in self._known_state.items()
            )
        except KeyError:
            return False

    def read_options(self, param_groups: list[dict[str, Any]]) -> list[Options]:
        """Return the options of each group that has parameters."""
        return [
            group.options.read(param_groups[index])
            for group, index in zip(self.groups, self.indices, strict=True)
        ]

    def has_state_for(self, options: list[Options]) -> bool:
        """Whether the plan has all state that a call with these options reads."""
        return all(
            read.settings.momentum == 0 or read.settings.of_rule.velocity in group.kinds
            for group, read in zip(self.groups, options, strict=True)
        )

    def load(self) -> list[list[Any]]:
        """Set the addresses of the gradients, and return those of each group.

        Raises
        ------
        TypeError, ValueError
            If a gradient is not acceptable.
        RuntimeError
            If this thread flushes subnormal numbers to zero.
        """
        gradients = gradients_of(self.parameters)
        if self._is_spread:
            gradients = _parts_of_gradients(self.places, self.parameters, gradients)
        found = REFUSED if self._needs_arrays else self._expected.find(gradients)
        slices = [part for part in self.slices if part.start < part.stop]
        if found != REFUSED:
            of_groups, addresses = [gradients[part] for part in slices], self._expected.addresses
            for group, part, of_group in zip(self.groups, slices, of_groups, strict=True):
                _set_addresses(group, addresses[part], None if found == COMPLETE else of_group)
            return of_groups
        check_subnormals_are_kept()
        arrays = [all_accepted(self._places[part], gradients[part], self._memory) for part in slices]
        for group_plan, of_group in zip(self.groups, arrays, strict=True):
            for of_dtype in group_plan.groups:
                of_dtype.set_gradients(of_group)
        return arrays

    @property
    def has_gradients(self) -> bool:
        """Whether any parameter has a gradient in this call."""
        return any(group.has_gradients for group_plan in self.groups for group in group_plan.groups)


def named_places(index: int, group: dict[str, Any]) -> list[Place]:
    """Return the parameters of a group with the names that the user gave, or with their positions."""
    names = group.get("param_names") or [
        f"param_groups[{index}]['params'][{i}]" for i in range(len(group["params"]))
    ]
    return [Place(name, parameter) for name, parameter in zip(names, group["params"], strict=True)]


def _parts_of_gradients(
    places: Sequence[Place], parameters: Sequence[Any], gradients: Sequence[Any]
) -> list[Any]:
    parts = parts_alike(gradients, parameters)
    if parts is not None:
        return parts
    for (name, parameter), gradient in zip(places, gradients, strict=True):
        if gradient is not None:
            check_alike(f"the gradient of {name}", gradient, parameter)
    return parts_of(gradients)


def _set_addresses(group_plan: GroupPlan, addresses: Array, gradients: list[Any] | None) -> None:
    for group in group_plan.groups:
        group.set_addresses(addresses)
        if gradients is not None:
            group.has_gradients = any(gradients[position] is not None for position in group.positions)


def _check_memory(places: Sequence[Place]) -> None:
    """Check that no two parameters share memory."""
    taken: dict[int, str] = defaultdict(str)
    for name, parameter in places:
        if id(parameter) in taken:
            raise ValueError(f"{name} must be given once, got the same parameter as {taken[id(parameter)]}")
        taken[id(parameter)] = name
    check_variables([elements_of(place.parameter) for place in places], "params")
