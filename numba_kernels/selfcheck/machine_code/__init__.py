"""Checks of the compiled code: it is vectorised, fuses no operations and spills no registers."""
