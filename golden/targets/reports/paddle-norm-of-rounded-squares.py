import paddle

weight = paddle.create_parameter([2], "float32")
weight.set_value(paddle.zeros([2]))
weight.grad = paddle.to_tensor([3e20, 4e20])
clip = paddle.nn.ClipGradByGlobalNorm(1.0)
paddle.optimizer.SGD(1.0, [weight], grad_clip=clip).step()
print("expected: weights of -0.6 and -0.8, since the global norm is 5e20")
print(f"actual: {weight.tolist()}, since the norm overflows")
assert abs(weight[0].item() + 0.6) < 1e-6
