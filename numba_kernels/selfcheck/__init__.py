"""``sgd-ref check``: the kernels of this machine against the reference, bit by bit."""
