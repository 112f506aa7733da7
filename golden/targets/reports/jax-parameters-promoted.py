import jax.numpy as jnp
from jax.example_libraries import optimizers

schedule = optimizers.piecewise_constant([10], [0.5, 0.25])
init, update, get_params = optimizers.sgd(schedule)
state = init(jnp.ones(3, "bfloat16"))
state = update(0, jnp.ones(3, "bfloat16"), state)
print("expected: bfloat16, the dtype of the parameters")
print(f"actual: {get_params(state).dtype}")
assert get_params(state).dtype == "bfloat16"
