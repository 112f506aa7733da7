"""``sgd-ref bench``: the kernels beside other optimizers and beside the speed of memory, on this machine."""
