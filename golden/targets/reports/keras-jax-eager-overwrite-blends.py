import os

os.environ["KERAS_BACKEND"] = "jax"
import keras

weight = keras.Variable([float("-inf")])
optimizer = keras.optimizers.SGD(learning_rate=0.5, use_ema=True, ema_overwrite_frequency=10)
optimizer.build([weight])
# The first of ten steps: nothing is to be overwritten yet, and the gradient is 0.
optimizer.apply([keras.ops.array([0.0])], [weight])
print("expected: -inf")
print(f"actual: {float(weight.value[0])}")
assert float(weight.value[0]) == float("-inf")
