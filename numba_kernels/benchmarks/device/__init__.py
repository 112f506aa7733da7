"""``sgd-ref bench --device cuda``: time the kernels, PyTorch, Optax and a plain copy on a device."""
