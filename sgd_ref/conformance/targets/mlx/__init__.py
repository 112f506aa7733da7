"""``mlx.optimizers.SGD``, as a target."""
