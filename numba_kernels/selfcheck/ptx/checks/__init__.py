"""The checks of ``sgd-ref check --device ptx``."""
