"""The optimizer class for PyTorch's training loops."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import torch

from numba_kernels.torch import averages, conversion, loading
from numba_kernels.torch.options import DEFAULTS, Options, adopt_schedule, check_further, check_group
from numba_kernels.torch.over_ranks import Membership, OverRanks
from numba_kernels.torch.plan import Plan, named_places
from numba_kernels.torch.rules import RuledSettings
from numba_kernels.torch.step import Step
from sgd_ref.base.exclusive import Running, alone
from sgd_ref.base.losses import Losses
from sgd_ref.schedules import LearningRateSchedule
from sgd_ref.schedules.serialization import serialize
from sgd_ref.validation import integer_at_least, positive_real


class SGD(torch.optim.Optimizer):  # type: ignore[misc]
    """SGD as a ``torch.optim.Optimizer``, every bit defined: by default those of ``sgd_ref.SGD``.

    Parameters
    ----------
    params : iterable of Tensor, of (name, Tensor) or of dict
        As for ``torch.optim.SGD``. Dense tensors of float16, bfloat16, float32 or float64 on the CPU.
    lr : float, Tensor of one element, or schedule of sgd_ref, default 0.001
        Rounded to float32. A scheduler of ``torch.optim.lr_scheduler`` may change it from step to step.
    momentum : float, default 0.0
        In [0, 1]; a scheduler may change it. With 0 a step neither reads nor changes the velocity.
    weight_decay : float, optional
        If set, each update decays the weights, by default also by 0.0. A group with None is excluded.
    nesterov : bool, default False
        Whether to apply Nesterov momentum; without effect where `momentum` is 0.
    clipnorm, clipvalue, global_clipnorm : float, optional
        At most one of them: the highest norm of each gradient, the highest absolute value of each element, or
        the highest norm of the gradients of all groups together.
    use_ema : bool, default False
        Whether to keep exponential moving averages of the parameters; see `swap_averages` and `finalize`.
    ema_momentum : float, default 0.99
        In [0, 1]; the share of the old average in the new one.
    ema_overwrite_frequency : int, optional
        Every time this many updates were made, overwrite the parameters with their averages.
    gradient_accumulation_steps : int, optional
        N, at least 2: update in every N-th step only, with the mean of the gradients of N steps. Call
        ``zero_grad`` after each step, since the optimizer keeps the sum.
    rule : {"keras", "pytorch"}, default "keras"
        How the rate and the decay are applied; see the notes.
    threads : int, optional
        How many threads may work on one step; by default ``torch.get_num_threads()`` at each step. No bit
        depends on it.
    process_group : ProcessGroup, optional
        The ranks that make each step together; by default the ranks of the DTensors among the parameters, if
        there are any. Plain parameters must be the same on all of these ranks, and count once in a norm.
    own_parameters : bool, default False
        Whether plain parameters belong to one rank each, as in the stages of a pipeline and on the ranks of
        ``ZeroRedundancyOptimizer``. The group then consists of all ranks by default.
    rank_timeout : float, default 60.0
        Seconds that the first rank waits for the others. The others wait twice as long for its answer.
    **further : object
        Arguments that only ``torch.optim.SGD`` has, if they ask for nothing, as ``dampening=0`` does.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or value. A step, ``load_state_dict`` and ``add_param_group`` also
        refuse wrong input before they change anything.

    Warns
    -----
    UserWarning
        If a rate, momentum or decay becomes 0 or infinite in the dtype of a parameter, or momentum becomes 1.

    Notes
    -----
    The two rules, with ``d`` for `weight_decay` and ``m`` for `momentum`:

    - "keras": ``w <- w - w * d * lr``, then ``v <- m * v - lr * g``, and ``w <- w + v``, with `nesterov`
      ``w <- w + (m * v - lr * g)``. After a change of the rate, earlier gradients keep their old rate.
    - "pytorch", the rule of ``torch.optim.SGD``: ``g <- g + d * w``, then ``b <- m * b + g``, and
      ``w <- w - lr * b``, with `nesterov` ``w <- w - lr * (g + m * b)``. A decay of 0.0 is no decay.

    Each operation is rounded once, in this order, after clipping. Without decay and changes of the rate, the
    two rules differ only by rounding. Differences from ``torch.optim.SGD`` under both rules:

    - The rate is rounded to float32, even for float64 parameters. Half types round after each operation.
    - No operations are fused; PyTorch's kernels fuse some, depending on processor and shape.
    - ``dampening``, ``maximize``, ``foreach``, ``fused``, ``capturable``, ``differentiable`` are not offered.
    - A parameter may be given only once, and ``load_state_dict`` copies the tensors.

    The groups differ in ``lr``, ``momentum``, ``weight_decay`` and ``nesterov``. Each group counts its steps,
    in ``calls``: the averages and schedules of a group that is added later begin when the group is added. A
    schedule of ``sgd_ref`` is kept in the option ``schedule``, and ``lr`` then shows the rate of the next
    step. To use PyTorch's schedulers instead, set ``schedule`` to None.

    A parameter without a gradient is left out of a step, except that its average is updated. A step without
    any gradient does nothing and is not counted. A step that ``torch.amp.GradScaler`` skips is not counted
    either. Gradients are divided by its scale in the same pass as everything else, and may be of float16.

    ``state[p]`` has up to three tensors: ``velocity`` or ``momentum_buffer``, ``average``, ``accumulator``.

    ``load_state_dict`` also takes a state dict of ``torch.optim.SGD``, if it means the same (no dampening, no
    maximize, and under the rule "keras" no decay). Under the rule "keras" the velocity is
    ``-(lr * momentum_buffer)``, rounded once. `pytorch_state_dict` converts in the other direction.

    The formulas are those of ``sgd_ref.rule``, from the documentation of ``optimizer_sgd`` of Keras, and of
    https://docs.pytorch.org/docs/stable/generated/torch.optim.SGD.html.

    Examples
    --------
    >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = SGD([w], lr=0.5, momentum=0.5, use_ema=True, ema_momentum=0.5)
    >>> for _ in range(2):
    ...     optimizer.zero_grad()
    ...     w.sum().backward()
    ...     optimizer.step()
    >>> w.data, optimizer.state[w]["velocity"]
    (tensor([-0.2500, -3.2500]), tensor([-0.7500, -0.7500]))
    >>> with optimizer.swap_averages():
    ...     w.data
    tensor([ 0.1250, -2.8750])
    """

    _step_supports_amp_scaling = True
    """With this attribute, GradScaler does not change the gradients, but passes the scale to the step."""

    def __init__(
        self,
        params: Any,
        lr: Any = 0.001,
        momentum: Any = 0.0,
        *,
        weight_decay: Any = None,
        nesterov: bool = False,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        gradient_accumulation_steps: int | None = None,
        rule: str = "keras",
        threads: int | None = None,
        process_group: Any = None,
        own_parameters: bool = False,
        rank_timeout: float | None = None,
        **further: Any,
    ) -> None:
        check_further(further)
        self._settings = RuledSettings.checked(
            rule=rule,
            clipnorm=clipnorm,
            clipvalue=clipvalue,
            global_clipnorm=global_clipnorm,
            use_ema=use_ema,
            ema_momentum=ema_momentum,
            ema_overwrite_frequency=ema_overwrite_frequency,
            gradient_accumulation_steps=gradient_accumulation_steps,
        )
        self._threads = None if threads is None else integer_at_least("threads", threads, 1)
        self._membership = Membership(process_group, own_parameters, rank_timeout)
        self._begin()
        given = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "nesterov": nesterov}
        defaults = {**DEFAULTS, **given}
        adopt_schedule(defaults)
        check_group("SGD", defaults)
        super().__init__(params, defaults)

    def _begin(self) -> None:
        self._plan: Plan | None = None
        self._over: OverRanks | None = self.__dict__.get("_over")
        self._losses = Losses()
        self._running = Running()
        self._is_swapped = False

    def __getstate__(self) -> dict[str, Any]:
        # Addresses and connections are useless in a copy or in another process.
        kept = {name: getattr(self, name) for name in ("_settings", "_threads", "_membership")}
        return {**super().__getstate__(), **kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over copied, unpickled or loaded attributes, after checking all of them."""
        self._refuse_swapped("load_state_dict")
        common: Any = state.get("_settings", self.__dict__.get("_settings"))
        groups, kept = loading.checked(state["param_groups"], state["state"], common)
        if "_settings" not in state:
            # PyTorch passes on the tensors of the loaded dict without copying them.
            kept = loading.copied(kept)
        super().__setstate__({**state, "param_groups": groups, "state": kept})
        self._begin()

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters, as for ``torch.optim.SGD``.

        Parameters
        ----------
        param_group : dict
            ``params``, and the options of the group that differ from the arguments of the constructor.

        Raises
        ------
        TypeError, ValueError
            If an option or a parameter is not acceptable.
        RuntimeError
            Between the steps of one update (`gradient_accumulation_steps`), or within `swap_averages`.
        """
        self._refuse_swapped("add_param_group")
        loading.check_between_updates(self.param_groups, self._settings.gradient_accumulation_steps)
        given: Any = param_group
        if isinstance(given, dict) and "params" in given:
            name = f"param_groups[{len(self.param_groups)}]"
            if not isinstance(param_group["params"], (torch.Tensor, set)):
                param_group["params"] = list(param_group["params"])
            loading.leave_out_common(param_group, self._settings)
            adopt_schedule(param_group)
            check_group(name, {**self.defaults, **param_group})
            loading.check_parameters(name, param_group["params"])
        super().add_param_group(param_group)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make one step with the gradients that the parameters have.

        Parameters
        ----------
        closure : callable, optional
            Called first, with gradients enabled; computes them and returns the loss.

        Returns
        -------
        object
            What `closure` returned, or None.

        Raises
        ------
        TypeError, ValueError
            If an option, a parameter, a gradient or a tensor of state is not acceptable. Nothing has changed.
        RuntimeError
            Within `swap_averages`, if this thread flushes subnormal numbers to zero, or if the optimizer is
            at work already. A ``numba_kernels.ranks.RankError`` if another rank has failed, is lost, or has
            other settings: it says which rank, and that this rank has changed nothing.
        """
        loss = None
        if closure is not None:
            try:
                with torch.enable_grad():
                    loss = closure()
            except Exception as error:
                self._tell(error)
                raise
        self._advance()
        return loss

    # In compiled code, the step itself is not compiled: another compiler could make nothing in it faster.
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _advance(self) -> None:
        with alone(self._running):
            try:
                self._refuse_swapped("step")
                step = self._prepared_step()
            except Exception as error:
                self._tell(error)
                raise
            if step is None:
                return
            step.plan.keep_state(self)
            step.write()
            if self._over is not None:
                self._over.count()
            # Autograd has to know that values which it may have saved have changed.
            torch.autograd.graph.increment_version(step.plan.parameters)
            self._plan = step.plan

    def _tell(self, error: Exception) -> None:
        if self._over is not None:
            self._over.refuse(error)

    def _prepared_step(self) -> Step | None:
        """Return a step after all checks, or None if there is no step to make."""
        found = getattr(self, "found_inf", None)
        finite = found is None or not found.item()
        if not (finite or self._over):
            return None
        plan, options, gradients = self._prepared()
        scale = getattr(self, "grad_scale", None)
        if scale is not None:
            scale = np.float32(positive_real("grad_scale", scale.item()))
        threads = torch.get_num_threads() if self._threads is None else self._threads
        step = Step(plan, gradients, options, scale, threads)
        return step if step.prepare(self.param_groups, self._over, finite) else None

    def _prepared(self) -> tuple[Plan, list[Options], list[list[Any]]]:
        """Return all inputs of a call, checked; nothing has changed yet."""
        plan = self._plan
        if plan is None or not plan.is_current(self):
            plan = self._made_plan()
        options = plan.read_options(self.param_groups)
        if not plan.has_state_for(options):
            plan = self._made_plan()
            options = plan.read_options(self.param_groups)
        return plan, options, plan.load()

    def _made_plan(self) -> Plan:
        places = [place for i, group in enumerate(self.param_groups) for place in named_places(i, group)]
        self._over = self._over or self._membership.over([parameter for _, parameter in places])
        if self._over is None:
            return Plan(self, self._settings, self._losses)
        self._over.agree_on_parameters(places, self._settings)
        return Plan(self, self._settings, self._losses, self._over.other_dtypes)

    def state_dict(self) -> dict[str, Any]:
        """Return state and groups, without the settings that all groups share, as plain data and tensors."""
        saved: dict[str, Any] = super().state_dict()
        for group in saved["param_groups"]:
            if isinstance(group.get("schedule"), LearningRateSchedule):
                group["schedule"] = serialize(group["schedule"])
        return saved

    @property
    def rule(self) -> str:
        """The rule that the optimizer follows: "keras" or "pytorch"."""
        return self._settings.rule

    def pytorch_state_dict(self) -> dict[str, Any]:
        """Return a dict for ``torch.optim.SGD.load_state_dict``: the buffers are ``-(velocity / lr)``.

        They are rounded once, in the dtype of the parameter, and averages are left out. Under the rule
        "pytorch" the buffers are those of the state, and decay is kept.

        Raises
        ------
        ValueError
            If a setting means something that ``torch.optim.SGD`` does not do (decay, clipping, accumulation,
            overwriting by averages, a schedule of sgd_ref), or a rate is 0.

        Examples
        --------
        >>> w = torch.nn.Parameter(torch.tensor([1.0]))
        >>> optimizer = SGD([w], lr=0.5, momentum=0.9)
        >>> w.grad = torch.tensor([2.0])
        >>> optimizer.step()
        >>> optimizer.pytorch_state_dict()["state"]
        {0: {'momentum_buffer': tensor([2.])}}
        """
        return conversion.foreign_dict(torch.optim.Optimizer.state_dict(self), self._settings)

    def swap_averages(self) -> AbstractContextManager[None]:
        """Give the parameters the values of their averages within a ``with`` statement, then restore them.

        No step may be made within the statement. Values that it writes into the parameters are lost.

        Raises
        ------
        RuntimeError
            If the optimizer has no averages, or the parameters have them already.

        Warns
        -----
        UserWarning
            Before the first update of a group, which then keeps its parameters.
        """
        with alone(self._running):
            self._refuse_swapped("swap_averages")
            if not self._settings.use_ema:
                raise RuntimeError("swap_averages needs averages; construct the optimizer with use_ema=True")
            return self._lending(self._averaged())

    @contextmanager
    def _lending(self, pairs: list[tuple[Any, Any]]) -> Iterator[None]:
        self._refuse_swapped("swap_averages")
        try:
            self._is_swapped = True
            with averages.swapped(pairs):
                yield
        finally:
            self._is_swapped = False

    def finalize(self) -> None:
        """Write the averages into the parameters, once training has ended; without averages do nothing.

        It warns as `swap_averages` does, and within that statement raises a RuntimeError.
        """
        with alone(self._running):
            self._refuse_swapped("finalize")
            if self._settings.use_ema:
                averages.overwrite(self._averaged())

    def _averaged(self) -> list[tuple[Any, Any]]:
        return averages.averaged(self, self._settings.gradient_accumulation_steps or 1)

    def _refuse_swapped(self, method: str) -> None:
        if self.__dict__.get("_is_swapped"):
            raise RuntimeError(f"{method} must not be called while swap_averages lends the averages")
