"""``sgd-ref check --device cuda``: compare the kernels on the device with the reference, bit by bit."""
