"""The releases of tf_keras, each of which asks for the TensorFlow of its own number."""

from __future__ import annotations

from sgd_ref.conformance.targets.history.releases import Releases

SETTINGS = {
    "CUDA_VISIBLE_DEVICES": "-1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_NUM_INTEROP_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
}
"""Environment variables for every process that imports TensorFlow."""


def releases() -> Releases:
    """Return the releases of tf_keras.

    >>> releases().requirements("2.21.0").split()
    ['tf_keras==2.21.0']
    """
    return Releases("tf_keras", imports=("tf_keras",), shown=("tensorflow", "numpy"), settings=SETTINGS)
