"""The command ``sgd-ref check --device cuda``: kernels on the device against the reference."""
