"""The example optimizers of JAX, ``jax.example_libraries.optimizers``, as a target."""
