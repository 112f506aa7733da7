import os

os.environ["KERAS_BACKEND"] = "jax"
import keras

weight = keras.Variable([0.0])
optimizer = keras.optimizers.SGD(
    learning_rate=1.0, use_ema=True, ema_momentum=0.5, gradient_accumulation_steps=2
)
optimizer.build([weight])
averages = []
for gradient in (-8.0, -8.0, 0.0):
    optimizer.apply([keras.ops.array([gradient])], [weight])
    averages.append(float(optimizer._model_variables_moving_average[0].value[0]))
# The second call updates the weight to 8. The third call only accumulates.
print(f"expected: the third call leaves the average as it was, {averages[1]}")
print(f"actual: {averages[2]}")
assert averages[2] == averages[1]
