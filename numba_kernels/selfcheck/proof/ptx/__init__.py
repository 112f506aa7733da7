"""The proof for the PTX of the elementwise kernels: known indices, and symbols for all numbers.

Threads are run one after the other (``running.py``) on tables with known addresses and counts
(``tables.py``), and all numbers are symbols. So what is stored is proven for all numbers and all settings,
but only for these sizes. They let every loop run more than once, and reach every block before the counting of
calls. The executed PTX shows that other sizes lead to the right elements.
"""
