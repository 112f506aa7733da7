"""The optimizer for ``keras.Model.compile``: the bits of ``sgd_ref``, computed by the kernels for CPUs.

``SGD`` needs Keras with one of its backends PyTorch, JAX and TensorFlow. The backend is the one that
``KERAS_BACKEND`` names.

>>> import keras
>>> model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(10)])
>>> model.compile(SGD(0.1, momentum=0.9, use_ema=True), "mean_squared_error")
>>> model.optimizer.momentum
0.9
"""

try:
    import keras as _keras  # noqa: F401
except ModuleNotFoundError as _error:
    from sgd_ref.base.installing import how_to_install

    raise ModuleNotFoundError(
        f"numba_kernels.keras needs Keras and one of its backends: {how_to_install('keras', 'torch')}",
        name=_error.name,
    ) from None

from numba_kernels.keras.optimizer import SGD

__all__ = ["SGD"]
