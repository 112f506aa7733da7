"""Environments of targets: each holds one framework, and a worker that speaks the protocol."""
