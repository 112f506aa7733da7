"""Scripts of watched steps: which elements they keep, which values they accept, and what is refused."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sgd_ref.conformance.catalogue.case import Case, State
from sgd_ref.conformance.deviations import Basis
from sgd_ref.conformance.dialects import KERAS, Dialect
from sgd_ref.conformance.targets import registry
from sgd_ref.conformance.targets.scripts.of_watched import scripts_of

SETTINGS = {"learning_rate": 0.1, "momentum": 0.9}
RUN = "run = lambda case: ANSWER"


def case_of(dtype: str = "float32", **changes: Any) -> Case:
    generator = np.random.default_rng(0)

    def arrays() -> tuple[Any, ...]:
        return tuple(generator.standard_normal(shape).astype(dtype) for shape in ((3, 40), (7,), (3, 40)))

    case = Case("watched/step-1", SETTINGS, ("a", "b", "c"), arrays(), tuple(arrays() for _ in range(4)))
    return replace(case, **changes)


def seen_of(case: Case, *mistakes: str, rule: Dialect = KERAS) -> list[dict[str, Any]]:
    return [{"variables": record["variables"]} for record in rule.basis().run(case, mistakes)]


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The function that executes a script with what its implementation answers to its case."""
    monkeypatch.setattr(registry, "how_to_run", lambda case, **chosen: RUN)

    def executed(text: str, answer: Any) -> tuple[str, bool]:
        namespace: dict[str, Any] = {"__name__": "script", "ANSWER": answer}
        exec(text, namespace)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            is_wrong: bool = namespace["compare"](namespace["run"](namespace["CASE"]))
        return out.getvalue(), is_wrong

    return executed


def sizes(text: str) -> list[int]:
    namespace: dict[str, Any] = {"__name__": "script"}
    exec(text.replace(RUN, ""), namespace)
    return [array.size for array in namespace["CASE"].variables]


def test_the_shortest_scripts_have_few_elements_and_the_wrong_one(answered: Any) -> None:
    case = case_of()
    seen = seen_of(case)
    for record in seen[1:]:
        record["variables"][2][1, 5] += 1
    scripts = list(scripts_of(case, seen, KERAS, "torch loop"))
    assert [sizes(script.text) for script in scripts] == [[4], [4, 4, 4], [120], [120, 7, 120]]
    assert [script.place for script in scripts] == [
        *["call 1, variables of c[0, 2]:"] * 2,
        *["call 1, variables of c[1, 5]:"] * 2,
    ]
    # The steps after the first wrong one are left out.
    assert all(script.text.count("{  # call ") == 2 * 2 for script in scripts)
    assert "variables of c[1, 5], 1 steps after the first." in scripts[0].text


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bfloat16"])
def test_a_script_accepts_other_roundings_and_shows_what_was_seen(answered: Any, dtype: str) -> None:
    case = case_of(dtype)
    wrong = seen_of(case, "ascends")
    *_, whole = scripts_of(case, wrong, KERAS, "torch loop")
    printed, is_wrong = answered(whole.text, wrong[:1])
    assert is_wrong
    assert printed.startswith(whole.place)
    assert ", as it was seen before" in printed
    right = seen_of(case)[:1]
    assert answered(whole.text, right) == ("", False)
    for record in right:
        for array in record["variables"]:
            array[...] = np.nextafter(array, np.array(np.inf, array.dtype))
    assert answered(whole.text, right) == ("", False)


def test_norms_need_the_elements_that_are_in_them(answered: Any) -> None:
    for setting, expected in (("clipnorm", [[120], [120, 7, 120]]), ("global_clipnorm", [[120, 7, 120]])):
        case = case_of(config={**SETTINGS, setting: 0.25})
        scripts = scripts_of(case, seen_of(case, "clipping-ignored"), KERAS, "torch loop")
        assert [sizes(script.text) for script in scripts] == expected


def test_a_state_without_the_rate_may_have_been_rounded(answered: Any) -> None:
    rule, case = Dialect("pytorch"), case_of()
    sums = tuple(g * np.float32(3) for g in case.gradients[0])
    written = replace(case, state=State(9, tuple(-(s * np.float32(0.1)) for s in sums)))
    # What goes on from the sums themselves is no mistake.
    w, kept = [array.copy() for array in case.variables], list(sums)
    seen: list[dict[str, Any]] = []
    for gradients in case.gradients:
        kept = [np.float32(0.9) * s + g for s, g in zip(kept, gradients, strict=True)]
        w = [array - np.float32(0.1) * s for array, s in zip(w, kept, strict=True)]
        seen.append({"variables": w})
    with pytest.raises(ValueError, match="values of variables are those that the rule may give"):
        list(scripts_of(written, seen, rule, "torch loop"))


def test_by_keras_state_is_compared_too(answered: Any) -> None:
    case = case_of()
    kept = ("variables", "velocities")
    seen = [{quantity: record[quantity] for quantity in kept} for record in Basis().run(case)]
    seen[1]["velocities"][0][2, 3] = 9
    by_torch = seen_of(case)
    by_torch[3]["variables"][1][0] = 9
    for record, other in zip(by_torch, seen, strict=True):
        record["velocities"] = other["velocities"]
    assert next(scripts_of(case, seen, KERAS, "keras jax eager")).place.startswith("call 1, velocities of a[")
    # The scripts for PyTorch report no velocities.
    assert next(scripts_of(case, by_torch, KERAS, "torch loop")).place.startswith("call 3, variables of b[")


@pytest.mark.parametrize(
    ("target", "rule", "optimizer", "message"),
    [
        ("sklearn", KERAS, "mine:SGD", "must go with one of keras, torch, optax, got sklearn"),
        ("torch loop", KERAS, "mine", "optimizer must be module:name"),
        ("torch loop", KERAS, "mine:S GD", "optimizer must be module:name"),
        ("optax eager", Dialect("optax", frozenset(["ascends"])), None, "what optax can be asked for"),
    ],
)
def test_what_a_target_cannot_take_is_refused(
    target: str, rule: Dialect, optimizer: str | None, message: str
) -> None:
    case = case_of()
    with pytest.raises(ValueError, match=message):
        list(scripts_of(case, seen_of(case, "updated-twice"), rule, target, optimizer))
