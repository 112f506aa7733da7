import jax.numpy as jnp
import optax

gradient = {"w": jnp.array([3e20, 4e20])}
clip = optax.clip_by_global_norm(1.0)
clipped, _ = clip.update(gradient, clip.init(gradient))
print("expected: [0.6 0.8], of the norm 1")
print("actual:", clipped["w"])
assert jnp.allclose(clipped["w"], jnp.array([0.6, 0.8]))
