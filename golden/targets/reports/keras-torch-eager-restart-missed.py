import os

os.environ["KERAS_BACKEND"] = "torch"
import keras

schedule = keras.optimizers.schedules.CosineDecayRestarts(1.0, first_decay_steps=100, t_mul=1.5)
# The periods are 100, 150 and 225 steps long, so that they begin at 0, 100, 250 and 475.
rates = {step: float(schedule(step)) for step in (0, 100, 250, 475)}
print("expected: the initial rate at the first step of each period,", dict.fromkeys(rates, 1.0))
print("actual:", rates)
assert all(rate == 1.0 for rate in rates.values())
