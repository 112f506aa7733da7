"""The programs in golden/consumers, broken in one line: the golden data finds every mistake."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

Check = Callable[[Sequence[str], Sequence[Path]], "subprocess.CompletedProcess[str]"]


class Mutation(NamedTuple):
    """One line of a consumer, and what stands there by mistake."""

    name: str
    consumer: str
    file: str
    line: str
    mistake: str


FEATURES = {
    "decay-enters-the-gradient": "decay",
    "nesterov-with-the-old-velocity": "nesterov",
    "average-from-zero": "averages",
    "accumulator-not-reset": "accumulation",
    "epsilon-in-clipnorm": "clipnorm",
}
"""The feature that each mistake is in, as the paths of the files have it."""

MUTATIONS = (
    Mutation(
        "decay-enters-the-gradient",
        "c",
        "sgd.c",
        "if (settings->has_weight_decay && optimizer->is_decayed[k]) decay(w, settings->weight_decay, rate);",
        "(void)decay; for (size_t i = 0; settings->has_weight_decay && optimizer->is_decayed[k]"
        " && i < g->size; i++) g->values[i] = add(g->dtype, g->values[i],"
        " multiply(w->dtype, settings->weight_decay, w->values[i]));",
    ),
    Mutation(
        "nesterov-with-the-old-velocity",
        "c",
        "sgd.c",
        "accelerate(&optimizer->velocities[k], g, settings->momentum, rate);",
        "if (settings->nesterov) { move_nesterov(w, &optimizer->velocities[k], g, settings->momentum, rate);"
        " accelerate(&optimizer->velocities[k], g, settings->momentum, rate); continue; }"
        " accelerate(&optimizer->velocities[k], g, settings->momentum, rate);",
    ),
    Mutation("average-from-zero", "c", "sgd.c", "if (updates_before == 0)", "if (false)"),
    Mutation(
        "accumulator-not-reset",
        "c",
        "sgd.c",
        "for (size_t k = 0; steps != 0 && k < optimizer->count; k++) reset(&optimizer->accumulators[k]);",
        "(void)reset;",
    ),
    Mutation(
        "epsilon-in-clipnorm",
        "c",
        "sgd.c",
        "double larger = isnan(norm) || norm > c ? norm : c;",
        "double larger = isnan(norm) || norm + 1e-6 > c ? add(g->dtype, norm, 1e-6) : c;",
    ),
    Mutation(
        "decay-enters-the-gradient",
        "javascript",
        "sgd.mjs",
        "w = withValues(w, (x) => subtract(t, x, multiply(t, multiply(t, x, wd), lr)));",
        "g = withValues(g, (x, i) => add(t, x, multiply(t, w.values[i], wd)));",
    ),
    Mutation(
        "nesterov-with-the-old-velocity",
        "javascript",
        "sgd.mjs",
        "const change = settings.nesterov ? withValues(velocity, accelerated) : velocity;",
        "const change = settings.nesterov ? withValues(velocities[k], accelerated) : velocity;",
    ),
    Mutation(
        "average-from-zero",
        "javascript",
        "sgd.mjs",
        "updatesBefore === 0 ? copyOf(w) : average(optimizer.averages[k], w, settings.ema_momentum),",
        "average(optimizer.averages[k], w, settings.ema_momentum),",
    ),
    Mutation(
        "accumulator-not-reset",
        "javascript",
        "sgd.mjs",
        "optimizer.accumulators = optimizer.accumulators.map(zerosLike);",
        "optimizer.accumulators.map(zerosLike);",
    ),
    Mutation(
        "epsilon-in-clipnorm",
        "javascript",
        "sgd.mjs",
        "const larger = Math.max(euclideanNorm(g.dtype, [g]), c); // NaN where the norm is",
        "const larger = Math.max(add(g.dtype, euclideanNorm(g.dtype, [g]), 1e-6), c);",
    ),
    Mutation(
        "decay-enters-the-gradient",
        "r",
        "sgd.R",
        "w <- subtract(t, w, multiply(t, multiply(t, w, wd), lr))",
        "g$values <- add(t, g$values, multiply(t, w, wd))",
    ),
    Mutation(
        "nesterov-with-the-old-velocity",
        "r",
        "sgd.R",
        "change <- if (config$nesterov) subtract(t, multiply(t, mu, velocity), scaled) else velocity",
        "change <- if (config$nesterov) subtract(t, multiply(t, mu,"
        " optimizer$velocities[[k]]$values), scaled) else velocity",
    ),
    Mutation(
        "average-from-zero",
        "r",
        "sgd.R",
        "new <- if (updates_before == 0) w$values else add(w$dtype, multiply(w$dtype, m, old), rest)",
        "new <- add(w$dtype, multiply(w$dtype, m, old), rest)",
    ),
    Mutation(
        "accumulator-not-reset",
        "r",
        "sgd.R",
        "optimizer$accumulators <- lapply(optimizer$accumulators, zeros_like)",
        "lapply(optimizer$accumulators, zeros_like)",
    ),
    Mutation(
        "epsilon-in-clipnorm",
        "r",
        "sgd.R",
        "larger <- max(euclidean_norm(g$dtype, g$values), c) # NaN where the norm is",
        "larger <- max(add(g$dtype, euclidean_norm(g$dtype, g$values), 1e-6), c)",
    ),
)

NAMES = tuple(dict.fromkeys(mutation.name for mutation in MUTATIONS))


def broken(consumer: Any, mutation: Mutation, golden: Path, folder: Path) -> list[str]:
    """Return the command that runs a copy of the consumer with the mistake in it."""
    sources = folder / mutation.consumer
    shutil.copytree(golden / "consumers" / mutation.consumer, sources)
    path = sources / mutation.file
    text = path.read_text("utf-8")
    assert sum(line.strip() == mutation.line for line in text.splitlines()) == 1, mutation.line
    path.write_text(text.replace(mutation.line, mutation.mistake), "utf-8")
    command: list[str] = consumer.built(folder, sources)
    return command


def diverges(result: subprocess.CompletedProcess[str]) -> bool:
    """Return whether the program found itself wrong; that it broke down would be no answer."""
    assert result.returncode in (0, 1), result.stderr
    assert ("0 diverge" in result.stdout.splitlines()[-1].split(", ")) == (result.returncode == 0)
    return result.returncode == 1


@pytest.fixture(scope="session")
def mutants(consumer: Any, golden: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The commands of the broken copies."""
    return {
        mutation.name: broken(consumer, mutation, golden, tmp_path_factory.mktemp("mutant"))
        for mutation in MUTATIONS
        if mutation.consumer == consumer.name
    }


def test_the_first_cases_find_four_of_five(
    mutants: dict[str, list[str]], golden: Path, checked: Check
) -> None:
    found = {name for name, command in mutants.items() if diverges(checked(command, [golden / "first.json"]))}
    assert len(mutants) == 5
    assert len(found) >= 4, f"not found: {set(mutants) - found}"


@pytest.mark.parametrize("name", NAMES)
def test_the_standard_tier_finds_all(
    consumer: Any, mutants: dict[str, list[str]], name: str, golden: Path, checked: Check, sweep: Any
) -> None:
    if consumer.name == "r" and not sweep.complete:
        pytest.skip("R takes a minute for this, so that it runs under --sweep only")
    paths = sorted((golden / "standard").rglob("*.json"))
    # What some of the files find, all of them find; those that name the feature find it soonest.
    aimed = [path for path in paths if FEATURES[name] in path.as_posix()]
    some = sweep.generator.choice(len(aimed), sweep.count(len(aimed), 8), replace=False)
    assert diverges(checked(mutants[name], [aimed[index] for index in some])) or diverges(
        checked(mutants[name], paths)
    )
