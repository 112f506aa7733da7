"""Mutants: kernels and host code with a deliberate mistake, to see that executing the PTX reveals it.

Run it with ``python -m numba_kernels.selfcheck.ptx.mutants``.
"""
