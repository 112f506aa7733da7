"""The meaning of each PTX opcode that the kernels use, as a function of NumPy arrays."""
