"""tf_keras as a target: its offered features, its documented rule, and its known deviations."""

from __future__ import annotations

from pathlib import Path

from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.targets.environments.environment import Environment
from sgd_ref.conformance.targets.environments.isolated import Isolation, isolated_family
from sgd_ref.conformance.targets.known import KnownFailure
from sgd_ref.conformance.targets.tf_keras.releases import SETTINGS, releases

OPTIMIZER = "https://github.com/keras-team/tf-keras/blob/v2.21.0/tf_keras/optimizers/optimizer.py"

BY_DESIGN = {
    # "The stored moving average is always model variable's initial value", where `ema_momentum` is 1.
    "averages-from-initial-weights": OPTIMIZER,
}

EVIDENCE = {
    "zero-momentum-multiplied": "optimizers/sgd.py, `build`: there are velocities without momentum, too, and "
    "`m * momentum` is infinity times 0",
    "momentum-through-float32": "optimizers/sgd.py, `update_step`, and `_apply_weight_decay` of "
    "optimizers/optimizer.py: `tf.cast` makes a float32 tensor of a Python number first",
    "averages-only-with-gradient": "optimizers/optimizer.py, `apply_gradients`: variables without a gradient "
    "are left out before anything is averaged",
    "exclusion-by-pattern": "optimizers/optimizer.py, `_use_weight_decay`: `re.search(name, variable.name)`",
    "norm-of-rounded-squares": "`tf.clip_by_norm`: `reduce_sum(values * values)`; `tf.global_norm`: "
    "`l2_loss`",
    "norm-summed-in-another-order": "the order of the vector registers",
    "rows-clipped-one-by-one": "optimizers/optimizer.py, `apply_gradients`: repeated rows of IndexedSlices "
    "are added after they are clipped",
    "subnormals-flushed": "TensorFlow computes in flush-to-zero mode",
    "schedule-in-float32": "optimizers/schedules/learning_rate_schedule.py: float32 throughout",
    "quotient-in-float32": "optimizers/schedules/learning_rate_schedule.py: float32 steps",
    "restart-missed": "optimizers/schedules/learning_rate_schedule.py: the floor of a quotient of logarithms",
    "settings-become-integers": "optimizers/schedules/learning_rate_schedule.py: boundaries become int64",
}


def clips_mixed_dtypes_globally(case: Case) -> bool:
    """Whether gradients of different dtypes share one norm."""
    return case.config["global_clipnorm"] is not None and len({v.dtype for v in case.variables}) > 1


def starts_from_an_integer(case: Case) -> bool:
    """Whether the initial learning rate of a schedule is given as an integer."""
    schedule = case.config["learning_rate"]
    return isinstance(schedule, dict) and isinstance(schedule["config"].get("initial_learning_rate"), int)


FAILURES = (
    KnownFailure(
        "global-clipping-of-mixed-dtypes",
        r"cannot compute Pack as input|in Pack",
        clips_mixed_dtypes_globally,
        "`tf.global_norm`: the squared norms of the gradients are stacked without a cast",
    ),
    KnownFailure(
        "schedule-from-an-integer",
        r"int32",
        starts_from_an_integer,
        "optimizers/schedules/learning_rate_schedule.py: `initial_learning_rate` gives its dtype to the rest",
    ),
)

ISOLATION = Isolation(
    Environment("tf_keras", Path(__file__).parent, python="requirements.txt", size="2 GB", settings=SETTINGS),
    # It accumulates no gradients; its LossScaleOptimizer leaves the unscaling to its user.
    offers=(
        "dtype",
        "update",
        "weight_decay",
        "clipping",
        "averages",
        "overwrite",
        "learning_rate",
        "gradients",
    ),
    by_design=BY_DESIGN,
    evidence=EVIDENCE,
    failures=FAILURES,
)

FAMILY = isolated_family(ISOLATION, releases)
