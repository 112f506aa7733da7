"""Environments of targets: each framework installed apart, and a worker there that speaks the protocol."""
