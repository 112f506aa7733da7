"""Optax, called as it is and jitted."""
