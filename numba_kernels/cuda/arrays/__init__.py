"""Device arrays of Numba, CuPy and PyTorch: where they lie, and on which stream."""
