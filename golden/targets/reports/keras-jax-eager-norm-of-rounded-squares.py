import os

os.environ["KERAS_BACKEND"] = "jax"
import keras

weight = keras.Variable([0.0], dtype="float16")
optimizer = keras.optimizers.SGD(learning_rate=1.0, clipnorm=1.0)
optimizer.build([weight])
# 300 is a number of float16, and its square is not.
optimizer.apply([keras.ops.array([300.0], "float16")], [weight])
print("expected: -1.0, since the gradient is clipped to the norm 1")
print(f"actual: {float(weight.value[0])}")
assert float(weight.value[0]) == -1.0
