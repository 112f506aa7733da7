"""The scripts of the findings that are kept: each is Python, and the real implementations still differ."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import sgd_ref
from sgd_ref.conformance.deviations import DEVIATIONS
from sgd_ref.conformance.targets.findings.storage import kept
from sgd_ref.conformance.targets.registry import names, options_of
from sgd_ref.conformance.targets.scripts.of_finding import script_of
from sgd_ref.conformance.targets.torch.launch import obstacle

if TYPE_CHECKING:
    from tests.conftest import Sweep

PACKAGES = {"keras": ("keras",), "torch": ("torch",), "optax": ("optax", "jax")}

# Those that run in this environment; the others have environments of their own.
ALL = [(target, name) for target in names() if target.split()[0] in PACKAGES for name in kept(target)]


@pytest.mark.parametrize("target", names())
def test_every_script_is_python_and_says_what_it_shows(target: str) -> None:
    for name, finding in kept(target).items():
        text = script_of(finding, target)
        compile(text, name, "exec")
        header = " ".join(text.split('"""')[1].split())
        assert header.startswith(f"{target} (")
        assert f"{name}: {' '.join(DEVIATIONS[name].summary.split())}" in header
        assert "SEEN = {\n    (" in text or "iterations: expected" in header


def test_a_script_names_the_processor_if_it_is_known() -> None:
    target, name = ALL[0]
    finding = kept(target)[name]
    assert "First difference seen:\n" in script_of(finding, target)
    known = replace(finding, processor="x86_64, Some CPU: avx")
    assert "First difference seen (x86_64, Some CPU: avx):\n" in script_of(known, target)


def test_implementations_still_differ(sweep: Sweep, tmp_path: Path) -> None:
    chosen = [ALL[index] for index in sweep.generator.permutation(len(ALL))[: sweep.count(len(ALL), 100)]]
    missing = sorted({reason for target, _ in chosen if (reason := _missing(target))})
    if missing and os.environ.get("CI"):
        pytest.fail("; ".join(missing))
    present = [(target, name) for target, name in chosen if not _missing(target)]
    if not present:
        pytest.skip("; ".join(missing))

    def run(position: int) -> str | None:
        target, name = present[position]
        path = tmp_path / f"script{position}.py"
        path.write_text(script_of(kept(target)[name], target), encoding="utf-8")
        done = subprocess.run(
            [sys.executable, path.name],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(Path(sgd_ref.__file__).parents[1])},
            capture_output=True,
            text=True,
            check=False,
        )
        differs = done.returncode == 1 and done.stderr.endswith("the implementation still differs\n")
        return None if differs else f"{target}, {name}: {done.returncode}\n{done.stdout}{done.stderr}"

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        problems = list(filter(None, pool.map(run, range(len(present)))))
    assert not problems, "\n".join(problems)


def _missing(target: str) -> str | None:
    """Return what a target needs that is not there."""
    chosen = options_of(target)
    packages = (*PACKAGES[chosen["target"]], *filter(None, [chosen.get("backend")]))
    for package in packages:
        if importlib.util.find_spec(package) is None:
            return f"{package} is not installed"
    return obstacle(chosen["variant"]) if "variant" in chosen else None
