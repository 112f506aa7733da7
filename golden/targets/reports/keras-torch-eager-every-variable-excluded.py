import os

os.environ["KERAS_BACKEND"] = "torch"
import keras

weight = keras.Variable([1.0], name="probe")
optimizer = keras.optimizers.SGD(learning_rate=0.5, weight_decay=0.5)
optimizer.exclude_from_weight_decay(var_list=[weight])
optimizer.build([weight])
try:
    optimizer.apply([keras.ops.array([0.0])], [weight])
    actual = float(weight.value[0])
except Exception as error:
    actual = f"{type(error).__name__}: {error}"
print("expected: 1.0, since the only weight is excluded from decay")
print(f"actual: {actual}")
assert actual == 1.0
