import os

os.environ["KERAS_BACKEND"] = "torch"
import keras

schedule = keras.optimizers.schedules.PiecewiseConstantDecay([3_000_000_000], [1.0, 0.5])
print("expected: 1.0 at step 0, which lies before the boundary 3000000000")
print(f"actual: {float(schedule(0))}")
assert float(schedule(0)) == 1.0
