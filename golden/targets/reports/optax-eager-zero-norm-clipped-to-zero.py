import jax.numpy as jnp
import optax

gradient = {"w": jnp.zeros(2)}
clip = optax.clip_by_global_norm(0.0)
clipped, _ = clip.update(gradient, clip.init(gradient))
print("expected: [0. 0.]")
print("actual:", clipped["w"])
assert (clipped["w"] == 0.0).all()
