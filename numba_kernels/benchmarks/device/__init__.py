"""``sgd-ref bench --device cuda``: the kernels on a device beside PyTorch, Optax and the speed of a copy."""
