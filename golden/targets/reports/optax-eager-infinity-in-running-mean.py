import jax.numpy as jnp
import optax

optimizer = optax.MultiSteps(optax.chain(optax.clip(0.5), optax.sgd(1.0)), every_k_schedule=2)
weight = jnp.array([0.0])
state = optimizer.init(weight)
for gradient in (float("inf"), 0.0):
    updates, state = optimizer.update(jnp.array([gradient]), state, weight)
print("expected: [-0.5], since the mean of inf and 0 is inf, which is clipped to 0.5")
print("actual:", updates)
assert updates[0] == -0.5
