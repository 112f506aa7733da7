"""``torch.optim.SGD`` as a target, in each of its variants: loop, foreach, fused and compiled."""
