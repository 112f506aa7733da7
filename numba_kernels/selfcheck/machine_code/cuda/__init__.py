"""Checks of the machine code of the CUDA kernels, on machines without a GPU.

The checks build the code by the same path as a launch would, disassemble it, and compare it with a table of
requirements and a file of counts. Run it with ``python -m numba_kernels.selfcheck.machine_code.cuda``.
"""
