import paddle

weight = paddle.create_parameter([1], "float64")
weight.set_value(paddle.zeros([1], "float64"))
optimizer = paddle.optimizer.Momentum(1.0, momentum=0.9, parameters=[weight])
for gradient in (1.0, 0.0):
    weight.grad = paddle.to_tensor([gradient], dtype="float64")
    optimizer.step()
print("expected: -1.9, in float64")
print(f"actual: {weight.item()}, with the momentum 0.8999999761581421")
assert abs(weight.item() + 1.9) < 1e-12
