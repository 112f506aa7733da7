"""Values half way between two floats, and a little beside: the programs in golden/consumers round once."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sgd_ref.conformance.golden.format.document import FORMAT
from sgd_ref.conformance.protocol.arrays import array_to_json

Check = Callable[[Sequence[str], Sequence[Path]], "subprocess.CompletedProcess[str]"]

WARMUPS = (
    # The warmup is start + step / steps * (end - start); 3/4 of 2**23 + 1 has 25 bits.
    (0.0, 2.0**23 + 1, 3, 4, 0.75 * 2**23 + 1.0),
    (2.0**-40, 2.0**23 + 1, 3, 4, 0.75 * 2**23 + 1.0),
    (-(2.0**-40), 2.0**23 + 1, 3, 4, 0.75 * 2**23 + 0.5),
    (0.0, 2.0**23 + 3, 3, 4, 0.75 * 2**23 + 2.0),
    (2.0**-40, 2.0**23 + 3, 3, 4, 0.75 * 2**23 + 2.5),
    # (3 * 2**24 + 2 * 1.5) / 3 is 2**24 + 1, though no third is a binary number.
    (1.5, 3 * 2.0**24, 1, 3, 2.0**24),
    (4.5, 3 * 2.0**24, 1, 3, 2.0**24 + 4),
    (1.5 + 2.0**-20, 3 * 2.0**24, 1, 3, 2.0**24 + 2),
)

POLYNOMIALS = (
    # (start - end) * (1 - step / steps) ** 0.5 + end, with the roots of 1/9 and of 9/16.
    (3 * 2.0**24, 1.5, 8, 9, 2.0**24),
    (3 * 2.0**24, 4.5, 8, 9, 2.0**24 + 4),
    (3 * 2.0**24, 7.5, 8, 9, 2.0**24 + 4),
    (2.0**24 + 4, 6.0, 7, 16, 0.75 * 2**24 + 4),
    (2.0**24 + 4, 14.0, 7, 16, 0.75 * 2**24 + 6),
)

NORMS = (
    # (2**24 + 1)**2 is 2**48 + 2 * 4096**2 + 1, and (2**24 + 3)**2 is 2**48 + 6 * 4096**2 + 9.
    ([2**24, 4096, 4096, 1], 2**24),
    ([2**24, 4096, 4096, 1, 2**-60], 2**24 + 2),
    ([2**24, *[4096] * 6, 3], 2**24 + 4),
    ([2**24, *[4096] * 6, 3, 2**-60], 2**24 + 4),
    ([2**24, *[4096] * 6, 2.5, 1.5, 0.5, 0.25], 2**24 + 2),
)


def assert_exact(
    command: list[str], checked: Check, folder: Path, kind: str, entries: Sequence[dict[str, Any]]
) -> None:
    path = folder / "entries.json"
    numbered = [{"id": str(index), **entry} for index, entry in enumerate(entries)]
    document = {"format": FORMAT, "kind": kind, "tier": "standard", "entries": numbered}
    path.write_text(json.dumps(document), "utf-8")
    result = checked(command, [path])
    assert f"{len(entries)} exact" in result.stdout.splitlines()[-1], result.stdout + result.stderr


def scheduled(class_name: str, step: int, expected: float, **config: float) -> dict[str, Any]:
    return {
        "schedule": {"class_name": class_name, "config": config},
        "steps": [step],
        "expected": array_to_json(np.array([expected], np.float32)),
    }


def test_rates_of_a_warmup(command: list[str], checked: Check, tmp_path: Path) -> None:
    entries = [
        scheduled(
            "CosineDecay",
            step,
            expected,
            initial_learning_rate=start,
            decay_steps=1,
            warmup_target=end,
            warmup_steps=steps,
        )
        for start, end, step, steps, expected in WARMUPS
    ]
    assert_exact(command, checked, tmp_path, "schedule", entries)


def test_rates_with_rational_roots(command: list[str], checked: Check, tmp_path: Path) -> None:
    entries = [
        scheduled(
            "PolynomialDecay",
            step,
            expected,
            initial_learning_rate=start,
            decay_steps=steps,
            end_learning_rate=end,
            power=0.5,
        )
        for start, end, step, steps, expected in POLYNOMIALS
    ]
    assert_exact(command, checked, tmp_path, "schedule", entries)


def test_norms(command: list[str], checked: Check, tmp_path: Path) -> None:
    entries = [
        {
            "stage": "norm",
            "dtype": "float32",
            "arguments": {"arrays": [array_to_json(np.array(elements, np.float32))]},
            "expected": array_to_json(np.float32(expected)),
        }
        for elements, expected in NORMS
    ]
    assert_exact(command, checked, tmp_path, "stage", entries)
