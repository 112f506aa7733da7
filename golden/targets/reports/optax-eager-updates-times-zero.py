import jax.numpy as jnp
import optax

optimizer = optax.MultiSteps(optax.sgd(1.0), every_k_schedule=2)
weight = jnp.array([0.0])
state = optimizer.init(weight)
# The first of the two calls of a window: it only accumulates.
updates, state = optimizer.update(jnp.array([float("inf")]), state, weight)
weight = optax.apply_updates(weight, updates)
print("expected: [0.], since no update is emitted before the second call")
print("actual:", weight)
assert weight[0] == 0.0
