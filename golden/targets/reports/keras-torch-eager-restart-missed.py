import os

os.environ["KERAS_BACKEND"] = "torch"
import keras

schedule = keras.optimizers.schedules.CosineDecayRestarts(1.0, first_decay_steps=10, t_mul=15.0)
# The periods are 10, 150 and 2250 steps long, so that they begin at 0, 10, 160 and 2410.
rates = {step: float(schedule(step)) for step in (0, 10, 160, 2410)}
print("expected: the initial rate at the first step of each period,", dict.fromkeys(rates, 1.0))
print("actual:", rates)
assert all(rate == 1.0 for rate in rates.values())
