"""A worker that is a starter with another function."""

from __future__ import annotations

from pathlib import Path

import pytest

from sgd_ref.conformance.targets.environments import starters
from sgd_ref.conformance.targets.libtorch import target as libtorch
from sgd_ref.conformance.targets.tfjs import target as tfjs


def test_each_starter_takes_the_function_of_its_target() -> None:
    for module, file, edits in ((libtorch, "step.cpp", libtorch.EDITS), (tfjs, "step.mjs", {})):
        text = starters.path_of(module.STARTER).read_text(encoding="utf-8")
        function = (module.HERE / file).read_text(encoding="utf-8")
        name = module.ISOLATION.environment.name
        made = starters.assembled(text, function, name, module.VERSION, edits)
        assert function in made
        assert "rounded(dtype, w[i] - descent)" in text
        assert "rounded(dtype, w[i] - descent)" not in made
        assert "my-sgd" not in made
        behind = made.rsplit(name, 1)[1]
        assert behind[:40].count(module.VERSION) == 1
        for new in edits.values():
            assert made.count(new) == 1


def test_versions_of_the_handshake_are_those_that_are_installed() -> None:
    requirements = (libtorch.HERE / "requirements.txt").read_text(encoding="utf-8")
    assert f"torch=={libtorch.VERSION}\n" in requirements
    package = (tfjs.HERE / "package.json").read_text(encoding="utf-8")
    assert f'"@tensorflow/tfjs": "{tfjs.VERSION}"' in package


def test_a_starter_that_has_changed_is_refused(tmp_path: Path) -> None:
    text = starters.path_of("sgd.mjs").read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="must hold 'no such part' once, got 0 times"):
        starters.assembled(text, "", "mine", "1.5", {"no such part": ""})
    with pytest.raises(ValueError, match=r"must hold '// YOURS\.' and then"):
        starters.assembled(text.replace("// YOURS.", ""), "", "mine", "1.5")
