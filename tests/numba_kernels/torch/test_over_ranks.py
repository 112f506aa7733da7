"""The same bits on any number of ranks, equal to the reference in one process."""

from __future__ import annotations

import pytest
import torch

from tests.conftest import Sweep
from tests.numba_kernels.torch import proof
from tests.numba_kernels.torch.processes import on_processes

if not torch.distributed.is_available():
    pytest.skip("PyTorch was built without torch.distributed", allow_module_level=True)

PROOF = "tests.numba_kernels.torch.proof"


def test_sharded_and_replicated_parameters_have_the_bits_of_one_process(sweep: Sweep) -> None:
    if not sweep.complete:
        pytest.skip("the minutes of up to eight ranks are for --sweep")
    sizes = (1, 2, 3, 4, 5, 8)
    results = on_processes(f"{PROOF}:all_scenarios", *sizes)
    names = list(results[1][0])
    expected = {name: proof.reference(name) for name in names}
    for size in sizes:
        for rank in range(size):
            assert results[size][rank] == expected, (size, rank)


def test_models_under_fully_shard_and_ddp_have_the_bits_of_one_process(sweep: Sweep) -> None:
    sizes = (1, 2, 3, 4, 5, 8) if sweep.complete else (1, 2)
    results = on_processes(f"{PROOF}:models", *sizes)
    expected = proof.reference_of_models()
    for size in sizes:
        for rank in range(size):
            assert results[size][rank]["fully_shard"] == expected
            assert results[size][rank]["ddp"] == expected
    # The norm of PyTorch depends on the number of ranks.
    assert len({results[size][0]["pytorch"] for size in sizes}) > 1


def test_state_shared_out_over_ranks_gives_the_bits_of_one_process(sweep: Sweep) -> None:
    if not sweep.complete:
        pytest.skip("another minute of ranks is for --sweep")
    expected = proof.reference_of_weights()
    for of_size in on_processes(f"{PROOF}:zero", 1, 2, 3, 4).values():
        assert set(of_size.values()) == {expected}
