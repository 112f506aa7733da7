"""Keras as a target, on JAX, TensorFlow and PyTorch."""
