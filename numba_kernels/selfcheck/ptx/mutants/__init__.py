"""Kernels and host code with a mistake put in, to see that executed PTX shows it.

Run it with ``python -m numba_kernels.selfcheck.ptx.mutants``.
"""
