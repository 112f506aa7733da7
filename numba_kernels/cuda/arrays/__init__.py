"""Device arrays of Numba, CuPy and PyTorch: their addresses, layouts and streams."""
