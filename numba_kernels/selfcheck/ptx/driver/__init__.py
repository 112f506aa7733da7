"""A CUDA driver without a device: the functions of the library ``libcuda.so.1``, implemented in Python."""
