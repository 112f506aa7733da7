import torch

a, b = torch.nn.Parameter(torch.zeros(1)), torch.nn.Parameter(torch.zeros(1))
optimizer = torch.optim.SGD([a, b], lr=1.0, momentum=0.5, fused=True)
a.grad = torch.ones(1)
optimizer.step()
# From here on b has a gradient too, as a layer that is no longer frozen.
b.grad = torch.ones(1)
try:
    optimizer.step()
    actual = b.item()
except Exception as error:
    actual = f"{type(error).__name__}: {str(error).splitlines()[0]}"
print("expected: -1.0, as with fused=False")
print(f"actual: {actual}")
assert actual == -1.0
