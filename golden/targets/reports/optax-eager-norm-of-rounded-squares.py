import jax.numpy as jnp
import optax

gradient = {"w": jnp.array([300.0], jnp.float16)}
clip = optax.clip_by_global_norm(1.0)
clipped, _ = clip.update(gradient, clip.init(gradient))
print("expected: [1.], of the norm 1")
print("actual:", clipped["w"])
assert clipped["w"][0] == 1.0
