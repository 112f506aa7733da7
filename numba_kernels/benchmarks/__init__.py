"""``sgd-ref bench``: time the kernels and other optimizers, and compare them with the speed of memory."""
