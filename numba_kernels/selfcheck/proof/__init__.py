"""Elementwise kernels proven to be the rule: their expressions, compared with those of the rule."""
