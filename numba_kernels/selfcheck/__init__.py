"""``sgd-ref check``: compare the kernels on this machine with the reference, bit by bit."""
