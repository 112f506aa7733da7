"""What the host does in a step: the optimizer, its state, its groups and its launches."""
