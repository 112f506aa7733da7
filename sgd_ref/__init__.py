"""sgd-ref: the Keras SGD optimizer, defined to the last bit."""

from sgd_ref import schedules
from sgd_ref.checkpoint import load, save
from sgd_ref.definition import DEFINITION_VERSION
from sgd_ref.gradients import SparseRows
from sgd_ref.loss_scale import LossScaleOptimizer
from sgd_ref.optimizer import SGD
from sgd_ref.training import fit

__all__ = [
    "DEFINITION_VERSION",
    "SGD",
    "LossScaleOptimizer",
    "SparseRows",
    "fit",
    "load",
    "save",
    "schedules",
]
