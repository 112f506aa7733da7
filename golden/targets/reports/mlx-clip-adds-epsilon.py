import mlx.core as mx
import mlx.optimizers as optim

gradients = {"w": mx.array([6e-6, 8e-6])}
clipped, _ = optim.clip_grad_norm(gradients, max_norm=5e-6)
print("expected: [3e-06, 4e-06], of the norm 5e-06")
print(f"actual: {clipped['w'].tolist()}")
assert mx.allclose(clipped["w"], mx.array([3e-6, 4e-6]), rtol=1e-3, atol=0).item()
