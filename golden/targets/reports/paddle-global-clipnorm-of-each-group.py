import paddle

weights = [paddle.create_parameter([1], "float32") for _ in range(2)]
for weight, gradient in zip(weights, (3.0, 4.0), strict=True):
    weight.set_value(paddle.zeros([1]))
    weight.grad = paddle.to_tensor([gradient])
clip = paddle.nn.ClipGradByGlobalNorm(1.0)
paddle.optimizer.SGD(1.0, [{"params": [weight]} for weight in weights], grad_clip=clip).step()
print("expected: weights of -0.6 and -0.8, since the global norm is 5")
print(f"actual: {[weight.item() for weight in weights]}, each group clipped by its own norm")
assert abs(weights[0].item() + 0.6) < 1e-6
