import torch

weight = torch.nn.Parameter(torch.tensor(0.0, dtype=torch.float64))
optimizer = torch.optim.SGD([weight], lr=0.5, momentum=0.5)
step = torch.compile(optimizer.step)
for gradient in (0.0, 1.0):
    weight.grad = torch.tensor(gradient, dtype=torch.float64)
    step()
print("expected: -0.5, as without torch.compile")
print(f"actual: {weight.item()}")
assert weight.item() == -0.5
