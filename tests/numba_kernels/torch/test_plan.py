"""Parameters, memory and state that change between steps."""

from __future__ import annotations

import pytest
import torch
from torch.nn import Parameter

from numba_kernels.torch import SGD


def test_parameters_that_share_memory_are_refused() -> None:
    memory = torch.ones(4)
    optimizer = SGD([Parameter(memory[:3]), Parameter(memory[1:])])
    for p in optimizer.param_groups[0]["params"]:
        p.grad = torch.ones(3)
    with pytest.raises(ValueError, match="must not share memory"):
        optimizer.step()
    assert memory.tolist() == [1.0] * 4
    expanded = Parameter(torch.ones(1).expand(3))
    expanded.grad = torch.ones(3)
    with pytest.raises(ValueError, match="must not overlap itself"):
        SGD([expanded]).step()


def test_other_memory_and_other_state_are_seen() -> None:
    w = Parameter(torch.ones(2))
    optimizer = SGD([w], lr=0.5, momentum=0.5)
    w.grad = torch.ones(2)
    optimizer.step()
    old = w.data
    w.data = torch.zeros(2)
    optimizer.step()
    # The velocity was -0.5, and is -0.25 - 0.5.
    assert (old.tolist(), w.tolist()) == ([0.5, 0.5], [-0.75, -0.75])
    optimizer.state[w]["velocity"] = torch.zeros(2)
    optimizer.step()
    assert w.tolist() == [-1.25, -1.25]
    optimizer.state[w]["velocity"].data = torch.zeros(2)
    optimizer.step()
    assert w.tolist() == [-1.75, -1.75]
    optimizer.state[w] = {"velocity": torch.zeros(2)}
    optimizer.step()
    assert w.tolist() == [-2.25, -2.25]
    optimizer.state = {}
    optimizer.step()
    assert w.tolist() == [-2.75, -2.75]
    optimizer.param_groups[0]["params"] = [Parameter(torch.ones(3))]
    optimizer.step()
    assert w.tolist() == [-2.75, -2.75]


def test_a_parameter_may_move_to_another_group() -> None:
    w, v = Parameter(torch.ones(1)), Parameter(torch.ones(1))
    optimizer = SGD([{"params": [w], "lr": 0.5}, {"params": [v], "lr": 0.25}])
    w.grad, v.grad = torch.ones(1), torch.ones(1)
    optimizer.step()
    optimizer.param_groups[0]["params"].append(optimizer.param_groups[1]["params"].pop())
    optimizer.step()
    assert (w.item(), v.item()) == (0.0, 0.25)
    del optimizer.param_groups[1]
    optimizer.step()
    assert (w.item(), v.item()) == (-0.5, -0.25)


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_another_form_in_the_same_memory_is_seen(momentum: float) -> None:
    memory = torch.ones(6)
    w = Parameter(memory.view(2, 3))
    optimizer = SGD([w], lr=0.5, momentum=momentum)
    w.grad = torch.ones(2, 3)
    optimizer.step()
    w.grad = None
    w.data = memory[:2]
    w.grad = torch.ones(2)
    if momentum:
        with pytest.raises(ValueError, match=r"the velocity of .*shape \(2,\).*\(2, 3\)"):
            optimizer.step()
        optimizer.state.clear()
    optimizer.step()
    assert memory.tolist() == [0.0] * 2 + [0.5] * 4
