"""Elementwise kernels proven to be the rule: their expressions, compared with those of the rule.

What is proven, for each elementwise kernel for CPUs, in all its specialisations: after a chunk, each
element of each array holds what the stages of ``sgd_ref`` give for it, for all bits of all arrays and for
all settings, and for chunks of any length. NaN equals NaN, as everywhere in this project.

How it goes:

- ``reference.py`` runs the stages of ``sgd_ref.SGD`` on symbols (``symbols.py``), and so has the
  expression of each result. Settings go through ``shared/constants.py``, as for the kernels.
- ``walking.py`` runs LLVM's optimised instructions of a kernel (``llvm/``) on the same symbols: scalar
  loops, vector loops, unrolled ones and their rests, one iteration of each for all of them. ``memory.py``
  knows what lies at each address, and ``loops.py`` which elements a loop has written. ``integers.py``
  decides about indices.
- Both build nodes of one normal form (``normal.py``), so that equal expressions are the same object.
  ``proving.py`` compares them.
- ``halves.py`` recognises conversions of half types, and ``sweep.py`` proves them on all 2**32 float32.

What is taken for granted: LLVM's code generator, and its statements about its own code (``nsw``,
``inbounds``); operations as IEEE 754 has them, with NaN as ``halves.is_of_domain`` says; that arrays do
not overlap, and lie where the tables say, with settings that are numbers of the dtype, finite but for
clipping, as ``cpu/plan.py`` and the checks of ``sgd_ref`` see to; counts and addresses below 2**48.

What is outside: norms, sums of squares and the factors made of them, which are no straight lines;
gradients of narrower dtypes under one ``global_clipnorm`` with float64; the kernels for CUDA. What the
prover does not understand, an instruction or a shape of loop, is a failure and not a gap.
"""
