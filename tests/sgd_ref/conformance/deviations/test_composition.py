"""Deviations that are composed do not write over what the other one keeps to itself."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import sgd_ref.conformance.answers
import sgd_ref.conformance.deviations
from sgd_ref.conformance.deviations import DEVIATIONS
from sgd_ref.optimizer import SGD

FOLDERS = (sgd_ref.conformance.answers, sgd_ref.conformance.deviations)

OF_THE_REFERENCE = {"_scale", "_growth_counter", "_state"}
"""State of the reference itself, which deviations change on purpose."""

HEIRS = {"AveragesAnewOnRestore", "MissingAfterRestoreAsZeros"}
"""Classes that write what a base of their own keeps."""


def test_no_two_of_them_keep_anything_under_one_name() -> None:
    owners: dict[str, set[str]] = defaultdict(set)
    files = [path for package in FOLDERS for path in Path(str(package.__file__)).parent.rglob("*.py")]
    for path in files:
        for cls in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(cls, ast.ClassDef) and cls.name not in HEIRS:
                for node in ast.walk(cls):
                    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                        is_own = isinstance(node.value, ast.Name) and node.value.id == "self"
                        if is_own and node.attr.startswith("_"):
                            owners[node.attr].add(f"{path.name}: {cls.name}")
    shared = {
        name: found for name, found in owners.items() if len(found) > 1 and name not in OF_THE_REFERENCE
    }
    assert not shared
    assert len(owners) > 15


def test_no_two_of_them_have_settings_of_their_own_under_one_name() -> None:
    owners: dict[str, set[type]] = defaultdict(set)
    for deviation in DEVIATIONS.values():
        for cls in deviation.optimizer.__mro__[: deviation.optimizer.__mro__.index(SGD)]:
            for name, value in vars(cls).items():
                if not name.startswith("__") and not hasattr(SGD, name) and not callable(value):
                    owners[name].add(cls)
    for name, classes in owners.items():
        first = [cls for cls in classes if not any(issubclass(cls, base) for base in classes - {cls})]
        assert len(first) == 1, name
    assert len(owners) > 5
