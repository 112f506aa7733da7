import os

os.environ["KERAS_BACKEND"] = "jax"
import keras

weight = keras.Variable([0.0], dtype="float16")
optimizer = keras.optimizers.SGD(learning_rate=1.0, clipnorm=1000.0)
optimizer.build([weight])
# The norm 200 is below the limit, so that nothing is to be clipped.
optimizer.apply([keras.ops.array([200.0], "float16")], [weight])
print("expected: -200.0")
print(f"actual: {float(weight.value[0])}")
assert float(weight.value[0]) == -200.0
