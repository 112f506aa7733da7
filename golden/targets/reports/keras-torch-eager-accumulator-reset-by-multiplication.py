import os

os.environ["KERAS_BACKEND"] = "torch"
import keras

weight = keras.Variable([0.0])
optimizer = keras.optimizers.SGD(learning_rate=1.0, gradient_accumulation_steps=2)
optimizer.build([weight])
for gradient in (float("inf"), 0.0):
    optimizer.apply([keras.ops.array([gradient])], [weight])
weight.assign([0.0])
# The next window has nothing of the infinity.
for gradient in (1.0, 1.0):
    optimizer.apply([keras.ops.array([gradient])], [weight])
print("expected: -1.0, the mean of the gradients since the last update")
print(f"actual: {float(weight.value[0])}")
assert float(weight.value[0]) == -1.0
