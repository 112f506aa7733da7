import torch

for _ in range(100):
    weight = torch.nn.Parameter(torch.zeros(1000))
    optimizer = torch.optim.SGD([weight], lr=1.0, momentum=0.5, fused=True)
    scaler = torch.amp.GradScaler("cpu", init_scale=1.0)
    # Memory that was used before and is free again.
    del (used := [torch.full((1000,), float("nan")) for _ in range(50)])[:]
    for gradient in (float("inf"), 1.0):
        scaler.scale(torch.zeros(()))
        weight.grad = torch.full((1000,), gradient)
        scaler.step(optimizer)
        scaler.update(1.0)
    actual = weight.detach().unique().tolist()
    if actual != [-1.0]:
        break
print("expected: [-1.0], since the first step is skipped, and the buffer begins with the second gradient")
print(f"actual: {actual[:4]}")
assert actual == [-1.0]
