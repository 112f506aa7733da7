"""``pytorch_optimizer.SGDW``, as a target."""
