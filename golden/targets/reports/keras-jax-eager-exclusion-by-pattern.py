import os

os.environ["KERAS_BACKEND"] = "jax"
import keras

weight = keras.Variable([1.0], name="probe")
optimizer = keras.optimizers.SGD(learning_rate=0.5, weight_decay=0.5)
# The name "probe" does not contain the string "pr.be".
optimizer.exclude_from_weight_decay(var_names=["pr.be"])
optimizer.build([weight])
optimizer.apply([keras.ops.array([0.0])], [weight])
print("expected: 1 - 1 * 0.5 * 0.5 = 0.75, since the weight decays")
print(f"actual: {float(weight.value[0])}")
assert float(weight.value[0]) == 0.75
