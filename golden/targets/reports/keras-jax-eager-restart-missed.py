import os

os.environ["KERAS_BACKEND"] = "jax"
import keras

schedule = keras.optimizers.schedules.CosineDecayRestarts(1.0, first_decay_steps=1, t_mul=7.0)
# The periods are 1, 7, 49 and 343 steps long, so that they begin at 0, 1, 8, 57 and 400.
rates = {step: float(schedule(step)) for step in (0, 1, 8, 57, 400)}
print("expected: the initial rate at the first step of each period,", dict.fromkeys(rates, 1.0))
print("actual:", rates)
assert all(rate == 1.0 for rate in rates.values())
