import torch

weight = torch.nn.Parameter(torch.zeros(2))
# The norm is the limit, so that nothing is to be clipped.
weight.grad = torch.tensor([3e-6, 4e-6])
torch.nn.utils.clip_grad_norm_([weight], max_norm=5e-6)
print("expected: the norm is at most 5e-06, and remains it: [3e-06, 4e-06]")
print(f"actual: {weight.grad.tolist()}, of the norm {weight.grad.norm().item():.3g}")
assert torch.allclose(weight.grad, torch.tensor([3e-6, 4e-6]), rtol=1e-3, atol=0)
