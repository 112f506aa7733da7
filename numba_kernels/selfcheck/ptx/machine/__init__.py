"""The machine: memory, threads and blocks, and what goes wrong in them."""
