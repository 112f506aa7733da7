"""The machine code of the CUDA kernels, built and looked at on machines without a GPU.

What a launch would run is built by the same path, disassembled, and held against a table of requirements and
a file of counts. Run it with ``python -m numba_kernels.selfcheck.machine_code.cuda``.
"""
