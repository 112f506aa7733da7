import torch

weight = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
optimizer = torch.optim.SGD([weight], lr=1.0)
scaler = torch.amp.GradScaler("cpu", init_scale=3.0)
scaler.scale(torch.zeros(()))
weight.grad = torch.tensor([3.0], dtype=torch.float64)
scaler.unscale_(optimizer)
print("expected: 1.0, which is 3 / 3")
print(f"actual: {weight.grad.item()!r}")
assert abs(weight.grad.item() - 1.0) < 1e-15
