"""Keras on JAX, TensorFlow and PyTorch."""
