"""Conversions are compared with their definition: a share here, all of them in ``sgd-ref check --prove``."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from numba_kernels.selfcheck.proof.expressions import FLOAT, HALF
from numba_kernels.selfcheck.proof.halves import ROUND, ROUND_AND_NARROW, Claim, meaning_of, sample
from numba_kernels.selfcheck.proof.proving import prove
from numba_kernels.selfcheck.proof.sweep import BLOCKS, differing, table
from sgd_ref.arithmetic.formats import BFLOAT16, BY_NAME, FLOAT16
from sgd_ref.arithmetic.rounded import nearest


def _word(bits: int) -> tuple[Any, ...]:
    return "constant", "i32", (), (bits,)


def cut(half: str, *, half_way: int) -> Claim:
    """Return a rounding that adds a constant and cuts the low half off: right by chance only."""
    form = (
        ("x", FLOAT),
        ("bits", "i32", (0,), ()),
        _word(half_way),
        ("add", "i32", (1, 2), ()),
        _word(16),
        ("lshr", "i32", (3, 4), ()),
        ("trunc", HALF, (5,), ()),
    )
    return Claim(half, form, ROUND_AND_NARROW)


@pytest.mark.parametrize(("dtype", "in_hardware"), [(BFLOAT16, None), (FLOAT16, None), (FLOAT16, False)])
def test_the_conversions_of_kernels_are_as_defined(
    dtype: Any, in_hardware: Any, module: Any, sweep: Any
) -> None:
    claims = prove(module(dtype, None, in_hardware), dtype, None).claims
    assert claims
    blocks = sweep.generator.permutation(BLOCKS)[: sweep.count(BLOCKS, 64)].tolist()
    # Where numbers of either type become subnormal or infinite, and NaN.
    edges = [
        0,
        1,
        0x0080,
        0x32FF,
        0x3300,
        0x3380,
        0x3800,
        0x477F,
        0x4780,
        0x7F7F,
        0x7F80,
        0x7FC0,
        0xFFC0,
        0xC77F,
    ]
    for claim in claims:
        tried, wrong = differing(claim, [*edges, *blocks])
        assert tried > (len(blocks) + len(edges) - 2) * 65000
        assert wrong == 0


@pytest.mark.parametrize("half_way", [0, 0x7FFF, 0x8000])
def test_a_wrong_conversion_is_seen(half_way: int) -> None:
    claim = cut("bfloat16", half_way=half_way)
    assert differing(claim, [0x3F80, 0x3F81])[1] > 0
    assert meaning_of("bfloat16", claim.form, is_of_half_type=False) == (
        "truncate" if half_way == 0 else None
    )


def test_a_conversion_that_is_wrong_for_one_number_is_seen() -> None:
    right = (
        ("x", FLOAT),
        ("fptrunc", HALF, (0,), ()),
        ("bits", "i32", (0,), ()),
        _word(0x477FF123),
        ("icmp", "i1", (2, 3), ("eq",)),
        ("constant", HALF, (), (0x1234,)),
        ("select", HALF, (4, 5, 1), ()),
    )
    claim = Claim("float16", right, ROUND_AND_NARROW)
    assert meaning_of("float16", right, is_of_half_type=False) == ROUND_AND_NARROW
    assert differing(claim, [0x477F]) == (65536, 1)
    assert differing(claim, [0x477E]) == (65536, 0)


def test_a_nan_that_loses_its_bits_is_seen() -> None:
    # Cutting 13 bits off makes an infinity of a NaN whose payload lies there.
    form = (
        ("x", FLOAT),
        ("bits", "i32", (0,), ()),
        _word(0xFFFFE000),
        ("and", "i32", (1, 2), ()),
        ("float", FLOAT, (3,), ()),
    )
    assert differing(Claim("float16", form, ROUND), [0x7F80])[1] >= 0x1FFF


@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_the_table_is_the_definition(half: str, sweep: Any) -> None:
    edges, values = table(half, is_narrow=True)
    bits = np.concatenate([edges[1:], edges[1:] - 1, sweep.generator.integers(0x7F800000, size=2000)])
    chosen = sweep.generator.permutation(bits)[: sweep.count(len(bits), 32)]
    for number in chosen.tolist():
        wide = np.uint32(number).view(np.float32)
        if not np.isfinite(wide):
            continue
        expected = nearest(Fraction(float(wide)), BY_NAME[half])
        found = values[np.searchsorted(edges, number, side="right") - 1]
        assert found == np.asarray(expected).view(np.uint16)


@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_the_sample_has_numbers_of_all_sorts(half: str) -> None:
    x = sample(half)
    assert np.isnan(x).any()
    assert np.isinf(x).any()
    assert ((x != 0) & (np.abs(x) < 2.0**-126)).any()
