"""``sgd-ref check --prove`` from the outside."""

from __future__ import annotations

import os
import re
from types import ModuleType
from typing import NoReturn

import pytest

from numba_kernels.selfcheck.extent import QUICK, Extent
from numba_kernels.selfcheck.proof import check
from numba_kernels.selfcheck.proof.expressions import FLOAT
from numba_kernels.selfcheck.proof.halves import ROUND, Claim
from numba_kernels.selfcheck.proof.proving import Proof
from numba_kernels.selfcheck.proof.ptx import check as ptx_check
from numba_kernels.shared.element import VARIANTS, VARIANTS_OF_PYTORCH
from sgd_ref.arithmetic.formats import FORMATS
from sgd_ref.command import main as cli

ONE = "^proof/accumulate/float64$"


def test_a_kernel_is_proven(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "--prove", "-k", ONE]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "compiler: LLVM" in "\n".join(lines)
    assert re.search(
        r"^1 kernel, 6 specialisations, \d+ expressions compared with the rule$", "\n".join(lines), re.M
    )
    assert lines[-1] == "PROVEN: every result of 1 of 1 kernel is the expression of the rule."


def test_a_kernel_that_is_not_the_rule(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    module_of = check.module_of
    monkeypatch.setattr(
        check, "module_of", lambda compiled: module_of(compiled).replace("= fadd ", "= fsub ")
    )
    assert cli.main(["check", "--prove", "-k", ONE]) == 1
    output = capsys.readouterr().out
    assert "NOT PROVEN: proof/accumulate/float64: 2 failures" in output
    assert "  the kernel has " in output
    assert "  the rule has   " in output
    assert output.splitlines()[-1] == "FAILED: only 0 of 1 kernel and 0 conversions are proven."


def test_a_wrong_conversion_is_no_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    claim = Claim("float16", (("x", FLOAT), ("fabs", FLOAT, (0,), ())), ROUND)
    monkeypatch.setattr(check, "proof_of", lambda kernel: Proof(1, 1, [], {claim}))
    monkeypatch.setattr(check.sweep, "BLOCKS", check.PARTS_OF_SWEEP)
    findings = check.run(Extent(pattern=re.compile(ONE)))
    assert findings.wrong == [claim]
    assert any("are not converted to float16 as defined" in line for line in check.page(findings))
    assert list(check.page(findings))[-1].startswith("FAILED")


def test_a_kernel_without_a_comparison_is_not_proven(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "proof_of", lambda kernel: Proof())
    assert check.run(Extent(pattern=re.compile(ONE))).failures == [
        "proof/accumulate/float64: no expression was compared"
    ]


def _die(kernel: object) -> NoReturn:
    os._exit(1)


@pytest.mark.parametrize("module", [check, ptx_check], ids=["cpu", "ptx"])
def test_a_process_that_dies_leaves_the_proof_incomplete(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "proof_of", _die)
    monkeypatch.setattr(ptx_check, "why_not", lambda: None)
    findings = module.run(Extent(QUICK, processes=2))
    assert len(findings.not_run) == 1
    assert list(check.page(findings))[-1].startswith("INCOMPLETE")


@pytest.mark.parametrize("given", [["-k", "nothing"], ["--device", "cuda"]])
def test_what_cannot_be_proven_is_wrong_usage(given: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["check", "--prove", *given])
    assert stopped.value.code == 2


def test_all_elementwise_kernels_are_proven() -> None:
    kernels = check.kernels(Extent())
    assert len({kernel.name for kernel in kernels}) == len(kernels)
    # Those of float16 in both ways of converting.
    assert len(kernels) == len(VARIANTS + VARIANTS_OF_PYTORCH) * (len(FORMATS) + 1) + len(FORMATS) + 1
    assert len(check.kernels(Extent(QUICK))) < len(kernels) / 2
