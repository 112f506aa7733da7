import os

os.environ["KERAS_BACKEND"] = "jax"
import keras

zero, one = keras.ops.array([0.0]), keras.ops.array([1.0])
a, b = keras.Variable([0.0]), keras.Variable([0.0])
optimizer = keras.optimizers.SGD(learning_rate=1.0, gradient_accumulation_steps=2)
optimizer.build([a, b])
# In the first window of two calls b has one gradient, and none in the call that updates. In the second
# window its gradients are 0.
for gradient in (one, None, zero, zero):
    optimizer.apply([zero, gradient], [a, b])
print("expected: 0.0, since no gradient of the second window is other than 0")
print(f"actual: {float(b.value[0])}")
assert float(b.value[0]) == 0.0
