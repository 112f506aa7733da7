import torch
from pytorch_optimizer import SGDW

gradients = {}
for foreach in (True, False):
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = SGDW([weight], lr=1.0, momentum=0.5, nesterov=True, foreach=foreach)
    weight.grad = torch.ones(1)
    optimizer.step()
    gradients[foreach] = weight.grad.item()
print(f"expected: the gradient is {gradients[True]} after the step, as with foreach=True")
print(f"actual: {gradients[False]}")
assert gradients[False] == gradients[True]
