import os

os.environ["KERAS_BACKEND"] = "jax"
import keras

weight = keras.Variable([0.0])
inner = keras.optimizers.SGD(learning_rate=1.0)
optimizer = keras.optimizers.LossScaleOptimizer(inner, initial_scale=2.0**127, dynamic_growth_steps=1)
optimizer.build([weight])
state, weights, scales = [v.value for v in optimizer.variables], [weight.value], []
for gradient in (0.0, float("inf"), 0.0):
    weights, state = optimizer.stateless_apply(state, [keras.ops.array([gradient])], weights)
    scales.append(
        float(
            next(s for v, s in zip(optimizer.variables, state, strict=True) if v is optimizer.dynamic_scale)
        )
    )
print("expected: a loss scale that is finite at last, since it shrinks after a gradient that is not finite")
print("actual:", scales)
assert scales[-1] < float("inf")
