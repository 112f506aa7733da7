"""``tinygrad.nn.optim.SGD``, as a target."""
