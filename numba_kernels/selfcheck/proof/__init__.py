"""A proof that elementwise kernels compute the rule: their expressions are compared with those of the rule.

The claim, for each elementwise kernel for CPUs, in all its specialisations: after a chunk, each element of
each array holds the value that the stages of ``sgd_ref`` give. This holds for all bits of all arrays, for all
settings, and for chunks of any length. NaN equals NaN, as everywhere in this project.

The method:

- ``reference.py`` runs the stages of ``sgd_ref.SGD`` on symbols (``symbols.py``), which gives the expression
  of each result. Settings go through ``shared/constants.py``, as for the kernels.
- ``walking.py`` runs LLVM's optimised instructions of a kernel (``llvm/``) on the same symbols: scalar loops,
  vector loops, unrolled loops and their remainders. One iteration of each loop stands for all of them.
  ``memory.py`` knows the content of each address, and ``loops.py`` knows which elements a loop has written.
  ``integers.py`` decides about indices.
- Both build nodes in one normal form (``normal.py``), so that equal expressions are the same object.
  ``proving.py`` compares the expressions.
- ``halves.py`` recognises conversions of half types, and ``sweep.py`` proves them on all 2**32 float32.

The assumptions: LLVM's code generator is right, and so are its statements about its own code (``nsw``,
``inbounds``). Operations follow IEEE 754, with NaN as in ``halves.is_of_domain``. Arrays do not overlap, and
lie at the addresses in the tables; settings are numbers of the dtype, and finite except for clipping:
``cpu/plan.py`` and the checks of ``sgd_ref`` ensure this. Counts and addresses are below 2**48.

The proof does not cover: norms, sums of squares and the factors made from them, which combine many elements;
gradients of narrower dtypes under one ``global_clipnorm`` with float64. An instruction or a form of loop that
the prover does not understand counts as a failure and not as a gap. ``ptx/`` has the proof for CUDA.
"""
