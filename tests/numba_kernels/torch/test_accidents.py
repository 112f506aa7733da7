"""A rank that differs, fails or is killed: all others name it, and the checkpoint of before loads."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Sweep
from tests.numba_kernels.torch.processes import on_processes

ACCIDENTS = "tests.numba_kernels.torch.accidents"


def test_a_rank_that_differs_or_fails_is_named_on_every_rank() -> None:
    results = on_processes(f"{ACCIDENTS}:differing", 3)[3]
    for rank, found in results.items():
        nothing = f"Rank {rank} has made nothing of step 2, and all of step 1 and those before it."
        assert found["rate"].startswith(
            "RankError: param_groups[0]['lr'] must be the same on all ranks, got 0.25"
        )
        assert "which gradients are there must be the same on all ranks, got" in found["missing"]
        assert "all but those of param_groups[0]['params'][2]\" on rank 2 and 'all' on" in found["missing"]
        if rank == 2:
            assert found["failed"].startswith("ValueError: param_groups[0]['momentum'] must be")
        else:
            assert "rank 2 failed in the norms of step 2: ValueError: param_groups[0]" in found["failed"]
            assert found["failed"].endswith(nothing)
        assert found["rate"].endswith(nothing)
        # A rank alone knows of the infinity, and no rank makes the step.
        assert "infinite" not in found
        assert found["calls"] == 2


def test_a_gradient_that_lies_elsewhere_is_refused() -> None:
    for found in on_processes(f"{ACCIDENTS}:placements", 2)[2].values():
        assert len(found) == 2
        assert all("must have the placements (Shard(dim=0),)" in text for text in found.values())


def test_a_killed_rank_is_named_and_the_checkpoint_of_before_loads_on_other_numbers_of_ranks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sweep: Sweep
) -> None:
    if not sweep.complete:
        pytest.skip("the minutes of four ranks are for --sweep")
    monkeypatch.setenv("CHECKPOINT", str(tmp_path / "checkpoint"))
    survivors = on_processes(f"{ACCIDENTS}:killed", 4, expected=1)[4]
    assert sorted(survivors) == [0, 1, 2]
    for rank, found in survivors.items():
        first, second = found["texts"]
        assert first.startswith("RankError: rank 3 was lost in the norms of step 6: ")
        assert first.endswith(
            f"Rank {rank} has made nothing of step 6, and all of step 5 and those before it."
        )
        assert "the ranks cannot talk any more, since rank 3 was lost" in second
        assert found["same"]
    resumed = on_processes(f"{ACCIDENTS}:resumed", 1, 3)
    (expected,) = on_processes(f"{ACCIDENTS}:uninterrupted", 1)[1].values()
    for of_size in resumed.values():
        assert all(digests == [survivors[0]["saved"], expected] for digests in of_size.values())
