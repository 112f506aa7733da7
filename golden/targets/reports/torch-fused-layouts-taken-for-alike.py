import torch

weight = torch.nn.Parameter(torch.zeros(2, 2))
optimizer = torch.optim.SGD([weight], lr=1.0, fused=True)
# A gradient that lies in memory in another order of its axes.
weight.grad = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).T.contiguous().T
optimizer.step()
print("expected: [[-1.0, -2.0], [-3.0, -4.0]]")
print(f"actual: {weight.tolist()}")
assert weight.tolist() == [[-1.0, -2.0], [-3.0, -4.0]]
