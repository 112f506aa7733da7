"""Code that the kernels for CPUs and for CUDA share: the update of one element, and its operations."""
