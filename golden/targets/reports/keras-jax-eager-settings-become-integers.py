import os

os.environ["KERAS_BACKEND"] = "jax"
import keras

schedule = keras.optimizers.schedules.ExponentialDecay(1, decay_steps=1, decay_rate=0.5)
rates = [float(schedule(step)) for step in range(4)]
print("expected:", [1.0, 0.5, 0.25, 0.125], "as with the initial rate 1.0")
print("actual:", rates)
assert rates == [1.0, 0.5, 0.25, 0.125]
