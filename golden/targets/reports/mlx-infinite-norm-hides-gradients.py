import mlx.core as mx
import mlx.optimizers as optim

gradients = {"w": mx.array([3e20, 4e20])}
clipped, norm = optim.clip_grad_norm(gradients, max_norm=1.0)
print("expected: [0.6, 0.8], of the norm 1")
print(f"actual: {clipped['w'].tolist()}, since the norm is {norm.item()}")
assert mx.allclose(clipped["w"], mx.array([0.6, 0.8])).item()
