import torch

weight = torch.nn.Parameter(torch.zeros(64, dtype=torch.bfloat16))
optimizer = torch.optim.SGD([weight], lr=1.0, fused=True)
weight.grad = torch.ones_like(weight)
optimizer.step()
print("expected: 64 elements are -1")
print(f"actual: {int((weight == -1).sum())} elements are -1, {int((weight == 0).sum())} are 0")
assert (weight == -1).all()
