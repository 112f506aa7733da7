"""A training with PyTorch is watched: real optimizers, and some that are written by hand with a mistake."""

from __future__ import annotations

import copy
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sgd_ref import conformance
from sgd_ref.command import main as cli
from sgd_ref.conformance.deviations import DEVIATIONS
from sgd_ref.conformance.golden.tools.recording import recorded
from sgd_ref.conformance.trajectories import reference

torch = pytest.importorskip("torch", reason="the loops are PyTorch's, an extra")
pytest.importorskip("sklearn", reason="the data are scikit-learn's digits")

spec = importlib.util.spec_from_file_location("hand_written", Path(__file__).with_name("hand_written.py"))
assert spec is not None
assert spec.loader is not None
written: Any = importlib.util.module_from_spec(spec)
spec.loader.exec_module(written)

MOMENTUM = {"lr": 0.05, "momentum": 0.9}


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_each_of_the_mistakes_is_named(sweep: Any) -> None:
    names = list(written.MISTAKES)
    for name in sweep.generator.choice(names, sweep.count(len(names)), replace=False):
        report = written.trained(*written.MISTAKES[name])
        assert not report.ok, name
        assert name in report.mistake.names, (name, report.mistake)


@pytest.mark.parametrize("rule", ["keras", "pytorch"])
def test_an_optimizer_that_states_its_rule_is_held_to_it(rule: str) -> None:
    torch_kernels = pytest.importorskip("numba_kernels.torch")
    w = torch.nn.Parameter(torch.linspace(-1.0, 1.0, 7))
    optimizer = torch_kernels.SGD([w], lr=0.1, momentum=0.9, rule=rule)
    with conformance.watch(optimizer, [w]) as report:
        for step in range(3):
            # The rules part where the rate changes.
            optimizer.param_groups[0]["lr"] = 0.1 * 0.3**step
            w.grad = torch.linspace(0.3, -0.7, 7)
            optimizer.step()
    assert report.rule.rule == rule
    assert report.ok
    assert report.exact == report.steps == 3


class ShownForTheFirst(written.Right):
    """One velocity for each shape, which the first parameter of that shape keeps."""

    def update(self, p: Any, g: Any, state: Any, group: Any) -> None:
        first = next(other for other in group["params"] if other.shape == p.shape)
        super().update(p, g, self.state[first], group)


@pytest.mark.parametrize("optimizer_class", [written.OneVelocityForEachShape, ShownForTheFirst])
def test_a_velocity_by_shape_is_named_without_a_rounding(optimizer_class: Any) -> None:
    parameters = [torch.nn.Parameter(torch.tensor([index, 0.0])) for index in range(4)]
    optimizer = optimizer_class(parameters, lr=0.5, momentum=0.5)
    with conformance.watch(optimizer, parameters) as report:
        for step in range(4):
            for index, parameter in enumerate(parameters):
                parameter.grad = torch.tensor([1.0 + index, 2.0 + step])
            optimizer.step()
    assert (report.step, report.violation.variable) == (0, "parameter 1")
    assert ("velocity-by-shape",) in report.mistake.diagnosis.names
    assert report.mistake.diagnosis.is_exact


def test_there_are_more_than_twenty_mistakes_and_all_but_missing_parts_are_known() -> None:
    assert len(written.MISTAKES) >= 20
    assert all(name.removeprefix("not ") in DEVIATIONS for name in written.MISTAKES)


@pytest.mark.parametrize(
    "options",
    [
        {"lr": 0.1},
        {**MOMENTUM, "nesterov": True, "weight_decay": 0.01},
        {**MOMENTUM, "dampening": 0.9},
        {**MOMENTUM, "maximize": True, "foreach": True},
        {**MOMENTUM, "fused": True},
    ],
    ids="-".join,
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_pytorch_does_is_as_defined(options: Any, dtype: Any) -> None:
    model = written.network().to(getattr(torch, dtype))
    optimizer = torch.optim.SGD(model.parameters(), **options)
    with conformance.watch(optimizer, model) as report:
        written.train(model, optimizer, written.falling, steps=4)
    assert report.ok, report
    assert report.steps == 4


def test_the_optimizer_that_is_written_by_hand_is_right() -> None:
    for cls, declared in ((written.Right, {}), (written.RightByKeras, {"rule": "keras"})):
        report = written.trained(cls, {**MOMENTUM, "weight_decay": 0.01}, declared, written.falling, steps=6)
        assert report.ok, report


def test_the_report_names_step_parameter_and_element() -> None:
    report = written.trained(written.LastElementSkipped, {"lr": 0.05}, {}, steps=3)
    assert (report.step, report.violation.variable, report.violation.element) == (0, "0.weight", (11, 63))
    assert "step 0, variables of 0.weight[11, 63]" in str(report)


def test_the_numbers_of_the_loop_are_the_same_with_and_without_watching() -> None:
    def state(is_watched: bool) -> list[bytes]:
        model = written.network()
        optimizer = torch.optim.SGD(model.parameters(), **MOMENTUM, weight_decay=0.01)
        if is_watched:
            with conformance.watch(optimizer, model, global_clipnorm=0.5):
                written.train(model, optimizer, written.falling, steps=6)
        else:
            written.train(model, optimizer, written.falling, steps=6)
        kept = [optimizer.state[p]["momentum_buffer"] for p in model.parameters()]
        arrays = [tensor.detach().numpy() for tensor in (*model.parameters(), *kept)]
        return [array.tobytes() for array in (*arrays, torch.get_rng_state().numpy())]

    assert state(is_watched=True) == state(is_watched=False)


def test_the_hooks_are_removed_also_when_the_loop_raises() -> None:
    model = written.network()
    optimizer = torch.optim.SGD(model.parameters(), **MOMENTUM)

    def loop() -> None:
        with conformance.watch(optimizer, model, clipnorm=1.0) as report:
            written.train(model, optimizer, steps=2)
            assert report.steps == 2
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        loop()
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks
    assert not any(p._post_accumulate_grad_hooks for p in model.parameters())


def test_gradients_are_those_before_the_user_clips_them_where_clipping_is_declared() -> None:
    def watched(limit: float) -> Any:
        model = written.network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        with conformance.watch(optimizer, model, global_clipnorm=0.125) as report:
            for seed in range(3):
                optimizer.zero_grad()
                torch.manual_seed(seed)
                model(torch.randn(8, 64)).square().sum().backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), limit)
                optimizer.step()
        return report

    assert watched(0.125).ok
    assert watched(0.25).step == 0


def scaled_step(model: Any, optimizer: Any, scaler: Any, is_skipped: bool = False) -> None:
    optimizer.zero_grad()
    scaler.scale(model(torch.ones(4, 64)).square().sum()).backward()
    if is_skipped:
        model[0].bias.grad[0] = torch.inf
    scaler.step(optimizer)
    scaler.update()


class NeverDecaysAndUnscales(written.VelocityNeverDecays):
    """It unscales its gradients, as the fused optimizers do."""

    _step_supports_amp_scaling = True

    def step(self, closure: Any = None) -> None:
        if not self.found_inf:
            super().step()

    def gradient(self, p: Any) -> Any:
        return p.grad / self.grad_scale


@pytest.mark.parametrize(
    ("optimizer_class", "options", "mistake"),
    [
        (torch.optim.SGD, {"foreach": True}, None),
        (torch.optim.SGD, {"fused": True}, None),
        (written.VelocityNeverDecays, {}, "velocity-never-decays"),
        (NeverDecaysAndUnscales, {}, "velocity-never-decays"),
    ],
    ids=["foreach", "fused", "mistake", "mistake that unscales"],
)
def test_a_loop_with_a_grad_scaler_is_watched(optimizer_class: Any, options: Any, mistake: Any) -> None:
    model = written.network()
    optimizer = optimizer_class(model.parameters(), **MOMENTUM, **options)
    # The scales are no powers of 2.
    scaler = torch.amp.GradScaler("cpu", init_scale=3.0, growth_factor=1.5, growth_interval=2)
    with conformance.watch(optimizer, model) as report:
        for step in range(6):
            scaled_step(model, optimizer, scaler, is_skipped=step == 3)
    assert report.steps == 5
    assert report.notes == []
    assert report.ok == (mistake is None), report
    assert mistake is None or report.mistake.names == (mistake,)


class ChangesWhatIsSkipped(NeverDecaysAndUnscales):
    def step(self, closure: Any = None) -> None:
        if self.found_inf:
            self.param_groups[0]["params"][0].data += 1
        super().step()


def test_a_skipped_step_that_changes_something_is_noted() -> None:
    model = written.network()
    optimizer = ChangesWhatIsSkipped(model.parameters(), lr=0.05)
    scaler = torch.amp.GradScaler("cpu")
    with conformance.watch(optimizer, model) as report:
        scaled_step(model, optimizer, scaler, is_skipped=True)
        scaled_step(model, optimizer, scaler)
    assert report.ok
    assert report.steps == 1
    assert report.notes == ["something else changed weights or state before steps 0"]


def test_gradients_are_taken_after_a_grad_scaler_has_unscaled_them() -> None:
    model = written.network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**20)
    with conformance.watch(optimizer, model, global_clipnorm=0.125) as report:
        for _ in range(3):
            optimizer.zero_grad()
            scaler.scale(model(torch.ones(8, 64)).square().sum()).backward()
            scaler.unscale_(optimizer)
            report.take_gradients()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.125)
            scaler.step(optimizer)
            scaler.update()
    assert report.ok, report
    assert report.steps == 3


class SkipsTheLastElement(torch.optim.SGD):  # type: ignore[misc]
    """Its step calls that of another class, whose hooks are called, too."""

    def step(self, closure: Any = None) -> None:
        if not self.param_groups[0]["params"][0].isfinite().all():
            raise FloatingPointError
        last = self.param_groups[0]["params"][0].detach()[-1, -1].clone()
        super().step()
        self.param_groups[0]["params"][0].data[-1, -1] = last


def test_a_step_that_calls_another_step_is_one_step() -> None:
    torch.optim.SGD(written.network().parameters(), lr=0.1)  # From now on, PyTorch calls hooks in its step.
    model = written.network()
    optimizer = SkipsTheLastElement(model.parameters(), lr=0.05)
    with conformance.watch(optimizer, model) as report:
        with torch.no_grad():
            first = model[0].weight[0, 0].clone()
            model[0].weight[0, 0] = torch.inf
        with pytest.raises(FloatingPointError):
            written.train(model, optimizer, steps=1)
        with torch.no_grad():
            model[0].weight[0, 0] = first
        written.train(model, optimizer, steps=3)
    assert (report.steps, report.step) == (3, 0)
    assert (report.violation.variable, report.violation.element) == ("0.weight", (11, 63))


def test_a_closure_computes_the_gradients_of_its_step() -> None:
    model = written.network()
    optimizer = torch.optim.SGD(model.parameters(), **MOMENTUM)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = model(torch.ones(4, 64)).square().sum()
        loss.backward()
        return loss

    with conformance.watch(optimizer, model) as report:
        losses = [float(optimizer.step(closure).detach()) for _ in range(3)]
    assert report.ok
    assert report.steps == 3
    assert len(set(losses)) == 3


def test_groups_are_judged_by_their_own_settings_and_a_sample_by_whole_norms() -> None:
    model = written.network()
    first, *others = model.parameters()
    groups = [{"params": others, "lr": 0.02}, {"params": [first], "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, **MOMENTUM, weight_decay=0.01)
    with conformance.watch(optimizer, model, sample=100, global_clipnorm=0.125) as report:
        for seed in range(3):
            optimizer.zero_grad()
            torch.manual_seed(seed)
            model(torch.randn(8, 64)).square().sum().backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.125)
            optimizer.step()
    assert report.ok, report
    assert "of 1,222 elements" in str(report)


def test_a_mistake_shows_in_a_sample_with_its_place_in_the_parameter() -> None:
    declared = {"sample": 60, "global_clipnorm": 0.125}
    report = written.trained(written.ClipsEachTensor, {"lr": 0.05, "limit": 0.125}, declared, steps=8)
    assert report.violation.variable == "0.weight"
    assert len(report.violation.element) == 2
    assert report.mistake.names == ("global-clipnorm-by-variable",)
    with pytest.raises(ValueError, match="sample=None"):
        report.write("case.json")


def test_what_is_written_is_read_by_the_kit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = written.trained(written.VelocityForgotten, {**MOMENTUM, "weight_decay": 0.01}, {}, steps=5)
    path = report.write(tmp_path / "case.json")
    ((case, _, rule),) = recorded(path)
    assert len(case.gradients) == 5
    assert str(rule) == "pytorch"
    # The file names the rule, so that nothing but the mistake is wrong.
    assert cli.main(["explain", str(path)]) == 1
    told = capsys.readouterr().out
    assert "held to the rule of pytorch" in told
    assert "diagnosis: it equals velocity-not-kept" in told

    (verdict,) = conformance.compare_recorded(reference.run, path).verdicts.values()
    assert verdict.grade == "diverges"


def test_changes_between_steps_are_noted_and_judged_apart() -> None:
    model = written.network()
    optimizer = torch.optim.SGD(model.parameters(), **MOMENTUM)
    with conformance.watch(optimizer, model) as report:
        written.train(model, optimizer, steps=2)
        with torch.no_grad():
            model[0].bias += 1
        written.train(model, optimizer, steps=2)
    assert report.ok
    assert report.notes == ["something else changed weights or state before steps 2"]


def test_parameters_without_gradients_stay_what_they_are() -> None:
    model = written.network()
    model[0].weight.requires_grad_(False)
    optimizer = torch.optim.SGD(model.parameters(), **MOMENTUM)
    with conformance.watch(optimizer, model) as report:
        written.train(model, optimizer, steps=3)
    assert report.ok
    report = written.trained(Touches, MOMENTUM, {}, steps=2)
    assert report.violation.variable == "2.bias"


class Touches(written.Right):
    def chosen(self, params: list[Any]) -> list[Any]:
        params[3].add_(1)
        return params


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rule": "caffe"}, "rule must be one of"),
        ({"by_design": {"mine"}}, "by_design must be"),
        ({"by_design": "ascends"}, "by_design must be several names"),
        ({"sample": 0}, "sample must be at least 1"),
        ({"sample": 1.5}, "sample must be a number"),
        ({"seed": -1}, "seed must be"),
        ({"clipnorm": -1.0}, "clipnorm must be"),
        ({"momentun": 0.5}, "a setting must be one of"),
        ({"velocities": "sums"}, "velocities must be"),
        ({"learning_rate": "fast"}, "learning_rate must be"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_wrapped(arguments: Any, message: Any) -> None:
    model = written.network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with (
        pytest.raises((TypeError, ValueError), match=message),
        conformance.watch(optimizer, model, **arguments),
    ):
        pass
    assert not optimizer._optimizer_step_pre_hooks


def test_models_and_optimizers_that_do_not_go_together_are_refused() -> None:
    model, other = written.network(), written.network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.5, dampening=0.25)
    for given, message in ((model, "dampening must be"), (other, "model must have"), (3, "model must be")):
        with pytest.raises((TypeError, ValueError), match=message), conformance.watch(optimizer, given):
            pass


def test_a_copy_of_a_watched_optimizer_is_not_watched() -> None:
    model = written.network()
    optimizer = torch.optim.SGD(model.parameters(), **MOMENTUM)
    with conformance.watch(optimizer, model) as report:
        kept = copy.deepcopy(optimizer.state_dict())
        written.train(model, optimizer, steps=1)
    assert report.steps == 1
    assert np.isclose(kept["param_groups"][0]["lr"], 0.05)


@pytest.mark.parametrize("sample", [None, 60])
def test_sparse_gradients_are_judged_as_the_dense_ones_that_they_mean(sample: Any) -> None:
    words = torch.tensor([[3, 3, 17, 5], [5, 9, 3, 20]])

    def watched(optimizer_class: Any) -> Any:
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Embedding(40, 8, sparse=True))
        optimizer = optimizer_class(model.parameters(), lr=0.05, momentum=0.9)
        with conformance.watch(optimizer, model, sample=sample) as report:
            for step in range(4):
                optimizer.zero_grad()
                (model(words + step).square().sum() * 0.3).backward()
                optimizer.step()
        return report

    assert watched(torch.optim.SGD).ok
    wrong = watched(RowsAreOverwritten)
    assert not wrong.ok
    assert wrong.violation.variable == "0.weight"
    # The words 3 and 5 occur more than once in the first step.
    assert (wrong.step, wrong.violation.element[0]) in ((0, 3), (0, 5)) or sample is not None


class RowsAreOverwritten(written.Right):
    """A row that is given twice counts once."""

    def gradient(self, p: Any) -> Any:
        given = p.grad
        dense = torch.zeros(given.shape)
        dense[given._indices()[0]] = given._values()
        return dense


def test_a_schedule_shows_where_the_rate_is_declared() -> None:
    def watched(**declared: Any) -> Any:
        model = written.network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)
        with conformance.watch(optimizer, model, **declared) as report:
            for step in range(6):
                written.train(model, optimizer, steps=1)
                if step > 0:
                    schedule.step()
        return report

    # By itself, each step is right for the rate that it got.
    assert watched().ok
    report = watched(learning_rate=lambda step: 0.05 * 0.5**step)
    assert report.step == 1
    assert "callable-one-call-late" in report.mistake.names
