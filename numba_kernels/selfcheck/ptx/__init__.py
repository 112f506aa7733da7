"""The compiled code of the CUDA kernels, executed on a CPU: their PTX, instruction by instruction.

PTX is the text that a launch hands to the assembler of the device. Nothing here says what that assembler
makes of it; the check of machine code reads that.
"""
