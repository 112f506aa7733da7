"""Elementwise kernels proven to be the rule: the expression that they compute, compared with that of the rule."""
