import jax.numpy as jnp
import optax

optimizer = optax.MultiSteps(optax.sgd(1.0), every_k_schedule=2)
weight = jnp.array([0.0])
state = optimizer.init(weight)
for gradient in (float("nan"), 0.0, 1.0, 1.0):
    updates, state = optimizer.update(jnp.array([gradient]), state, weight)
print("expected: the update of the second window, [-1.], has nothing of the first window")
print("actual:", updates)
assert updates[0] == -1.0
