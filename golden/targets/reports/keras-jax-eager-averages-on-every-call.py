import os

os.environ["KERAS_BACKEND"] = "jax"
import keras

weight = keras.Variable([0.0])
optimizer = keras.optimizers.SGD(
    learning_rate=1.0, use_ema=True, ema_momentum=0.5, gradient_accumulation_steps=2
)
optimizer.build([weight])
averages = []
for gradient in (-8.0, -8.0, -8.0, -8.0, 0.0):
    optimizer.apply([keras.ops.array([gradient])], [weight])
    averages.append(float(optimizer._model_variables_moving_average[0].value[0]))
# Calls 2 and 4 update the weight, to 8 and to 16. Call 5 only accumulates.
print(f"expected: the fifth call leaves the average as it was, {averages[3]}")
print(f"actual: {averages[4]}")
assert averages[4] == averages[3]
