"""Whatever the strategies draw is valid, and all that they promise to draw is drawn."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

import sgd_ref
from sgd_ref import SGD, SparseRows, schedules
from sgd_ref.arithmetic.formats import FORMATS, Array
from sgd_ref.arithmetic.rounded import holds, setting
from sgd_ref.conformance import Case, check, strategies
from sgd_ref.conformance.catalogue.axes import AXES
from sgd_ref.conformance.catalogue.degenerate import refuse_degenerate
from sgd_ref.conformance.catalogue.tiers import make_case
from sgd_ref.conformance.protocol.encoding import case_from_json, case_to_json, to_line
from sgd_ref.conformance.trajectories import reference

drawn = settings(deadline=None, print_blob=True, max_examples=40)
# The first example will do; nobody reads it.
anything = settings(
    deadline=None, database=None, max_examples=1000, phases=[Phase.generate], derandomize=True
)

every_dtype = pytest.mark.parametrize("dtype", strategies.DTYPES)


def is_drawn(strategy: st.SearchStrategy[Any], condition: Callable[[Any], Any]) -> bool:
    return find(strategy, lambda value: bool(condition(value)), settings=anything) is not None


@cache
def sample(strategy: Callable[[], st.SearchStrategy[Any]], size: int) -> list[Any]:
    """Draw some values, always the same."""
    values: list[Any] = []

    @settings(anything, max_examples=size)
    @given(strategy())
    def draw(value: Any) -> None:
        values.append(value)

    draw()
    return values


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    assert sgd_ref.__file__ is not None
    folder = Path(sgd_ref.__file__).parent.parent
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )


def test_hypothesis_is_imported_only_with_the_strategies() -> None:
    listing = run_python("import sgd_ref.conformance, sys; print(*sys.modules)")
    assert "hypothesis" not in listing.stdout.split()
    assert "sgd_ref.conformance" in listing.stdout.split()


def test_without_hypothesis_an_error_says_what_to_do() -> None:
    absent = "import sys; sys.modules['hypothesis'] = None; import sgd_ref.conformance.strategies"
    last_line = run_python(absent).stderr.strip().splitlines()[-1]
    assert last_line.startswith("ImportError: sgd_ref.conformance.strategies needs Hypothesis")
    assert "pip install hypothesis" in last_line


@drawn
@given(strategies.features(dtype=("float16", "mixed"), update=["nesterov"], loss_scaling={"none"}))
def test_features_make_cases_and_obey_restrictions(features: dict[str, str]) -> None:
    assert list(features) == list(AXES)
    assert features["dtype"] in {"float16", "mixed"}
    assert (features["update"], features["loss_scaling"]) == ("nesterov", "none")
    assert make_case(features).features == features


def test_every_value_of_every_axis_is_drawn() -> None:
    for axis, values in AXES.items():
        for value in values:
            assert is_drawn(
                strategies.features(), lambda features, axis=axis, value=value: features[axis] == value
            )


@every_dtype
@drawn
@given(data=st.data())
def test_numbers_are_of_the_dtype(dtype: str, data: st.DataObject) -> None:
    number = data.draw(strategies.numbers(dtype))
    assert type(number) is {known.name: known for known in FORMATS}[dtype].type
    assert np.isfinite(data.draw(strategies.numbers(dtype, finite=True)))


@every_dtype
def test_special_numbers_are_drawn(dtype: str) -> None:
    known = {known.name: known for known in FORMATS}[dtype]
    form = FORMATS[known]
    smallest = setting(float(form.smallest_normal * 2 / 2**form.precision), known)
    numbers = strategies.numbers(dtype)
    for condition in (
        np.isnan,
        lambda number: number == np.inf,
        lambda number: number == -np.inf,
        lambda number: number == 0 and np.signbit(number),
        lambda number: number == 0 and not np.signbit(number),
        lambda number: abs(number) == smallest,
        lambda number: smallest < abs(number) < float(form.smallest_normal),
        lambda number: abs(number) == float(form.largest),
        lambda number: 0.5 < abs(number) < 2 and number != 1,
    ):
        assert is_drawn(numbers, condition)


def test_shapes() -> None:
    shapes = strategies.shapes()
    for axes in range(4):
        assert is_drawn(shapes, lambda shape, axes=axes: len(shape) == axes)
    for length in (0, 1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65):
        assert is_drawn(shapes, lambda shape, length=length: shape[-1:] == (length,))


@every_dtype
@drawn
@given(data=st.data())
def test_arrays(dtype: str, data: st.DataObject) -> None:
    array = data.draw(strategies.arrays(dtype, (3, 5), magnitude=0.5, finite=True))
    assert (array.dtype.name, array.shape) == (dtype, (3, 5))
    assert np.isfinite(array).all()
    # At most three are special, and may be larger.
    assert np.count_nonzero(np.abs(array) > 0.5) <= 3
    assert data.draw(strategies.arrays(dtype, st.just((2,)))).shape == (2,)
    assert len(data.draw(strategies.arrays(dtype)).shape) <= 3


def test_arrays_hold_special_values_and_numbers_with_full_significands() -> None:
    arrays = strategies.arrays("float32", (5,))
    assert is_drawn(arrays, lambda array: np.isnan(array).any())
    assert is_drawn(arrays, lambda array: (np.float32(np.float16(array)) != array).all())
    assert is_drawn(strategies.arrays("float32"), lambda array: array.size == 0)


@every_dtype
@drawn
@given(data=st.data())
def test_gradients_fit_their_variable(dtype: str, data: st.DataObject) -> None:
    variable = data.draw(strategies.arrays(dtype, finite=True))
    gradient = data.draw(strategies.gradients(variable, missing=False))
    assert gradient.shape == variable.shape
    assert holds(variable.dtype, gradient.dtype)
    SGD().apply([gradient], [np.array(variable)])
    assert isinstance(data.draw(strategies.gradients(variable, missing=False, sparse=False)), np.ndarray)


def has_repeated_row(gradient: Array | SparseRows | None) -> bool:
    return isinstance(gradient, SparseRows) and len(set(gradient.indices.tolist())) < len(gradient.indices)


def test_all_kinds_of_gradients_are_drawn() -> None:
    variable = np.zeros((4, 3), "float32")
    gradients = strategies.gradients(variable)
    for condition in (
        lambda gradient: isinstance(gradient, np.ndarray) and gradient.dtype == "float32",
        lambda gradient: isinstance(gradient, np.ndarray) and gradient.dtype == "float16",
        lambda gradient: isinstance(gradient, np.ndarray) and gradient.dtype.name == "bfloat16",
        has_repeated_row,
        lambda gradient: isinstance(gradient, SparseRows) and gradient.dtype == "float16",
        lambda gradient: isinstance(gradient, SparseRows) and not len(gradient.indices),
    ):
        assert is_drawn(gradients, condition)
    find(gradients, lambda gradient: gradient is None, settings=anything)


@drawn
@given(strategies.schedules())
def test_schedules_are_accepted(schedule: dict[str, Any]) -> None:
    rates = [schedules.deserialize(schedule)(step) for step in range(12)]
    assert np.isfinite(rates).all()


def test_every_schedule_is_drawn() -> None:
    for name in set(schedules.__all__) - {"LearningRateSchedule", "deserialize", "serialize"}:
        assert is_drawn(strategies.schedules(), lambda schedule, name=name: schedule["class_name"] == name)


@pytest.mark.filterwarnings("error")
@every_dtype
@drawn
@given(data=st.data())
def test_configs_are_accepted_without_a_warning(dtype: str, data: st.DataObject) -> None:
    config = data.draw(strategies.configs((dtype, "bfloat16")))
    optimizer = SGD.from_config(config)
    variables = [np.zeros(2, {known.name: known for known in FORMATS}[name]) for name in (dtype, "bfloat16")]
    optimizer.build(variables)
    assert set(optimizer.get_config()) == set(config)
    assert data.draw(strategies.configs(momentum=0.25, clipnorm=None))["momentum"] == 0.25


def test_every_feature_of_a_config_is_drawn() -> None:
    configs = sample(strategies.configs, 200)
    for name in set(configs[0]) - {"name", "learning_rate", "ema_momentum"}:
        assert any(config[name] for config in configs), name
        assert not all(config[name] for config in configs), name
    assert any(config["weight_decay"] == 0.0 for config in configs)
    assert any(isinstance(config["learning_rate"], float) for config in configs)


def clippings(config: dict[str, Any]) -> list[float | None]:
    return [config[name] for name in ("clipnorm", "clipvalue", "global_clipnorm")]


@settings(drawn, max_examples=300)
@given(strategies.configs(("float16", "bfloat16")))
def test_no_config_is_degenerate_or_out_of_range(config: dict[str, Any]) -> None:
    assert isinstance(config["learning_rate"], dict) or config["learning_rate"] not in {0.0, 1.0}
    assert 0 <= setting(config["momentum"], "bfloat16") < 1
    assert setting(config["ema_momentum"], "bfloat16") not in {0.0, 0.5, 1.0}
    assert config["ema_overwrite_frequency"] != 1
    assert config["loss_scale_factor"] != 1.0
    # Nine calls are two windows.
    assert (config["gradient_accumulation_steps"] or 2) in {2, 3, 4}
    set_clippings = [value for value in clippings(config) if value is not None]
    assert len(set_clippings) <= 1
    # Both are normal in float16, whose range is the smaller one.
    assert all(2.0**-14 <= value <= 65504 for value in set_clippings)


@drawn
@given(strategies.configs(clipnorm=1.5), strategies.configs(clipnorm=None))
def test_settings_that_are_given_are_not_drawn(clipped: dict[str, Any], free: dict[str, Any]) -> None:
    assert clippings(clipped) == [1.5, None, None]
    assert clippings(free)[0] is None


def test_other_clippings_are_drawn_where_one_is_given_as_none() -> None:
    assert is_drawn(strategies.configs(clipnorm=None), lambda config: config["clipvalue"])


@drawn
@given(strategies.cases())
def test_cases_are_valid(case: Case) -> None:
    refuse_degenerate(case)
    first = case.gradients[0][0]
    assert isinstance(first, np.ndarray)
    assert np.count_nonzero(first) > 60
    assert check(reference.run, [case]).verdicts[case.id].grade == "exact"
    written = case_to_json(case)
    same = case_to_json(case_from_json(written)) == written
    assert same
    assert not any(variable.flags.writeable for variable in case.variables)


@drawn
@given(
    strategies.cases(
        dtypes=("bfloat16", "float16"),
        config=st.sampled_from((None, 1e6)).flatmap(
            lambda factor: strategies.configs(momentum=0.5, loss_scale_factor=factor)
        ),
        missing=False,
        sparse=False,
        loss_scaling=False,
        callable_rates=False,
        finite=True,
    )
)
def test_cases_obey_restrictions(case: Case) -> None:
    assert {variable.dtype.name for variable in case.variables} <= {"bfloat16", "float16"}
    assert case.config["momentum"] == 0.5
    assert (case.loss_scaling, case.learning_rate_calls) == (None, None)
    for gradients in case.gradients:
        assert all(isinstance(gradient, np.ndarray) for gradient in gradients)
        assert all(np.isfinite(gradient).all() for gradient in gradients)
    assert all(np.isfinite(variable).all() for variable in case.variables)


def in_any_gradient(condition: Callable[[Any], Any]) -> Callable[[Case], bool]:
    return lambda case: any(
        bool(condition(gradient)) for gradients in case.gradients for gradient in gradients
    )


@pytest.mark.parametrize(
    "condition",
    [
        in_any_gradient(lambda gradient: gradient is None),
        in_any_gradient(has_repeated_row),
        in_any_gradient(lambda gradient: isinstance(gradient, np.ndarray) and np.isnan(gradient).any()),
        lambda case: case.loss_scaling is not None,
        lambda case: case.learning_rate_calls is not None,
        lambda case: isinstance(case.config["learning_rate"], dict),
        lambda case: case.finalize and case.config["use_ema"],
        lambda case: case.excluded_from_weight_decay,
        lambda case: len({variable.dtype for variable in case.variables}) > 1,
        lambda case: any(variable.shape == () for variable in case.variables),
        lambda case: any(variable.size == 0 for variable in case.variables),
        lambda case: any(variable.ndim == 3 for variable in case.variables),
        lambda case: any(
            gradient is not None and gradient.dtype != variable.dtype
            for gradients in case.gradients
            for gradient, variable in zip(gradients, case.variables, strict=True)
        ),
    ],
)
def test_everything_promised_is_in_some_case(condition: Callable[[Case], Any]) -> None:
    assert any(condition(case) for case in sample(strategies.cases, 150))


def test_no_case_is_degenerate() -> None:
    for case in sample(strategies.cases, 150):
        refuse_degenerate(case)


def test_an_id_stands_for_one_case() -> None:
    drawn_cases = sample(strategies.cases, 150)
    contents = {to_line(case_to_json(replace(case, id=""))) for case in drawn_cases}
    assert len({case.id for case in drawn_cases}) == len(contents) > 100


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: strategies.features(dtypes=("float32",)), r"an axis must be one of dtype, .*got 'dtypes'"),
        (
            lambda: strategies.features(dtype=("float8",)),
            r"dtype must be some of float32, .*got \('float8',\)",
        ),
        (lambda: strategies.features(dtype=()), r"dtype must be some of float32, .*got \(\)"),
        (lambda: strategies.numbers("int32"), r"dtype must be one of float16, .*got 'int32'"),
        (lambda: strategies.arrays(np.int32), r"dtype must be one of float16, .*int32"),
        (lambda: strategies.gradients(np.zeros(2, int)), r"dtype must be one of float16, .*int64"),
        (lambda: strategies.configs(("float8",)), r"dtype must be one of float16, .*got 'float8'"),
        (lambda: strategies.configs(lr=0.1), r"a setting must be one of learning_rate, .*got 'lr'"),
        (lambda: strategies.cases(dtypes=()), r"dtypes must be some of float16, .*got \(\)"),
    ],
)
def test_bad_arguments_are_refused_at_once(draw: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw()
