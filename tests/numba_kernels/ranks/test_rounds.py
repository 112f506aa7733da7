"""Rounds: all ranks have the decision of rank 0, or an error that names the rank that is the reason."""

from __future__ import annotations

import json
from typing import Any

import pytest

from numba_kernels.ranks import Communicator, RankError, Ranks
from numba_kernels.ranks.rounds import joined, split
from tests.numba_kernels.ranks.threads import ThreadCommunicator, on_ranks


def _all_parts(of_ranks: list[list[bytes]]) -> list[bytes]:
    return [part for parts in of_ranks for part in parts]


@pytest.mark.parametrize("parts", [[], [b""], [b"a", b"", b"bc" * 5000]])
def test_a_message_has_its_parts(parts: list[bytes]) -> None:
    assert split(joined(parts)) == parts


@pytest.mark.parametrize("size", [1, 2, 5])
def test_every_rank_has_what_rank_0_made_of_all_parts(size: int) -> None:
    def talk(communicator: Communicator) -> Any:
        ranks = Ranks(communicator)
        return [ranks.round("it", b"{}", [b"%d %d" % (ranks.rank, i)], _all_parts) for i in range(3)]

    expected = [[b"%d %d" % (rank, i) for rank in range(size)] for i in range(3)]
    assert on_ranks(size, talk) == [expected] * size


def test_a_setting_that_differs_is_named_on_every_rank_and_a_later_round_goes_on() -> None:
    def talk(communicator: Communicator) -> Any:
        ranks = Ranks(communicator)
        ranks.steps = 7
        settings = {"clipnorm": 1.0, "lr": 0.5 if ranks.rank != 2 else 0.25}
        with pytest.raises(RankError) as caught:
            ranks.round("the norms", json.dumps(settings).encode(), [], _all_parts)
        assert ranks.round("it", b"{}", [b"on"], _all_parts) == [b"on"] * 4
        return str(caught.value)

    for rank, text in enumerate(on_ranks(4, talk)):
        assert text == (
            "lr must be the same on all ranks, got 0.25 on rank 2 and 0.5 on rank 0. "
            f"Rank {rank} has made nothing of step 8, and all of step 7 and those before it."
        )


def test_a_zero_has_a_sign() -> None:
    def talk(communicator: Communicator) -> Any:
        ranks = Ranks(communicator)
        return ranks.round("it", json.dumps({"lr": -0.0 if ranks.rank else 0.0}).encode(), [], _all_parts)

    assert all("lr must be the same" in str(error) for error in on_ranks(2, talk))


def test_a_rank_in_another_round_is_named() -> None:
    def talk(communicator: Communicator) -> Any:
        return Ranks(communicator).round("b" if communicator.rank == 1 else "a", b"{}", [], _all_parts)

    for error in on_ranks(3, talk):
        assert isinstance(error, RankError)
        assert "rank 1 is in b of step 1, and rank 0 in a of step 1" in str(error)


@pytest.mark.parametrize("failing", [0, 2])
def test_a_rank_that_fails_has_its_own_error_and_is_named_by_the_others(failing: int) -> None:
    def talk(communicator: Communicator) -> Any:
        ranks = Ranks(communicator)
        try:
            if ranks.rank == failing:
                ranks.refuse("it", ValueError("a bad gradient"))
            ranks.round("it", b"{}", [], _all_parts)
        except Exception as error:  # noqa: BLE001  (it is compared)
            assert ranks.round("it", b"{}", [b"on"], _all_parts) == [b"on"] * 4
            return error
        return None

    for rank, error in enumerate(on_ranks(4, talk)):
        if rank == failing:
            assert type(error) is ValueError
            assert "All ranks were told" in error.__notes__[0]
        else:
            assert type(error) is RankError
            assert f"rank {failing} failed in it of step 1: ValueError: a bad gradient" in str(error)
            assert f"Rank {rank} has made nothing of step 1, and no step before it" in str(error)


def test_an_error_that_all_ranks_have_is_raised_without_another_round() -> None:
    def talk(communicator: Communicator) -> Any:
        ranks = Ranks(communicator)
        with pytest.raises(RankError) as caught:
            ranks.round("b" if ranks.rank == 1 else "a", b"{}", [], _all_parts)
        with pytest.raises(RankError) as again:
            ranks.refuse("it", caught.value)
        assert again.value is caught.value
        assert not hasattr(again.value, "__notes__")
        return ranks.round("it", b"{}", [b"on"], _all_parts)

    assert on_ranks(3, talk) == [[b"on"] * 3] * 3


@pytest.mark.parametrize("ending", [0, 2])
def test_a_rank_that_ends_is_named_and_there_is_no_round_any_more(ending: int) -> None:
    def talk(communicator: Communicator) -> Any:
        ranks = Ranks(communicator)
        ranks.round("it", b"{}", [], _all_parts)
        ranks.steps += 1
        if ranks.rank == ending:
            return None
        texts = []
        for _ in range(2):
            with pytest.raises(RankError) as caught:
                ranks.round("it", b"{}", [], _all_parts)
            texts.append(str(caught.value))
        assert "cannot talk any more" in texts[1]
        return texts[0]

    for rank, text in enumerate(on_ranks(4, talk)):
        if rank != ending:
            assert text == (
                f"rank {ending} was lost in it of step 2: it has ended. "
                f"Rank {rank} has made nothing of step 2, and all of step 1 and those before it."
            )


def test_a_rank_that_does_not_answer_within_the_limit_is_named() -> None:
    def talk(communicator: ThreadCommunicator) -> Any:
        ranks = Ranks(communicator)
        if ranks.rank == 1:
            communicator.be_late()
            return None
        with pytest.raises(RankError) as caught:
            ranks.round("it", b"{}", [], _all_parts)
        return str(caught.value)

    texts = on_ranks(4, talk)
    assert all("rank 1 was lost in it of step 1: no message" in texts[rank] for rank in (0, 2, 3))
