"""The host's part of a step: the optimizer, its state, its groups of variables and its launches."""
