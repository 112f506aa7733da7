"""The proof for the PTX of the elementwise kernels: known indices, and symbols for all numbers.

Threads are run one after the other (``running.py``) on tables with known addresses and counts
(``tables.py``). All numbers are symbols, so that what is stored is proven for all numbers, but for the tried sizes only: they
are such that every loop runs more than once and every instruction that stores numbers is executed. That other
sizes lead to the right elements is what the executed PTX shows.
"""
