"""The compiled code of the CUDA kernels, executed on a CPU: their PTX, instruction by instruction.

PTX is the text that a launch hands to the assembler of the device. These checks show nothing about the work
of the assembler; the check of the machine code does.
"""
