"""The machine: memory, threads and blocks, and the detection of faults."""
