from tinygrad import Context, Tensor, dtypes
from tinygrad.nn.optim import SGD

weight = Tensor([0.0], dtype=dtypes.float64).is_param_()
optimizer = SGD([weight], lr=1.0, momentum=0.5)
weight.grad = Tensor([1.0], dtype=dtypes.float64)
try:
    with Context(TRAINING=1):
        optimizer.step()
    actual = weight.tolist()
except Exception as error:
    actual = f"{type(error).__name__}: {error}"
print("expected: [-1.0], as with dtypes.float32")
print(f"actual: {actual}")
assert actual == [-1.0]
