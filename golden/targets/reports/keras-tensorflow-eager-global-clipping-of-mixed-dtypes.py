import os

os.environ["KERAS_BACKEND"] = "tensorflow"
import keras

a, b = keras.Variable([0.0], dtype="float32"), keras.Variable([0.0], dtype="float16")
optimizer = keras.optimizers.SGD(learning_rate=1.0, global_clipnorm=1.0)
optimizer.build([a, b])
try:
    optimizer.apply([keras.ops.array([3.0]), keras.ops.array([4.0], "float16")], [a, b])
    actual = [round(float(a.value[0]), 3), round(float(b.value[0]), 3)]
except Exception as error:
    actual = f"{type(error).__name__}: {str(error).splitlines()[0]}"
print("expected: [-0.6, -0.8]")
print(f"actual: {actual}")
assert actual == [-0.6, -0.8]
