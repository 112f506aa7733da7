"""The parts of an optimizer that do no arithmetic: settings, state, variables, counting, configuration."""
