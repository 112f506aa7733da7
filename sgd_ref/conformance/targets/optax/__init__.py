"""Optax as a target, called directly and under ``jax.jit``."""
