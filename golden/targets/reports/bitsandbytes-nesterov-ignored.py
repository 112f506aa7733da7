import bitsandbytes
import torch

weight = torch.nn.Parameter(torch.zeros(1))
optimizer = bitsandbytes.optim.SGD32bit([weight], lr=1.0, momentum=0.5, nesterov=True)
weight.grad = torch.ones(1)
optimizer.step()
print("expected: -1.5, as with torch.optim.SGD")
print(f"actual: {weight.item()}, as without nesterov=True")
assert weight.item() == -1.5
