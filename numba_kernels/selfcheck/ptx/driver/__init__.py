"""A CUDA driver without a device: the library ``libcuda.so.1``, answered by Python."""
