"""All of an optimizer that is not arithmetic: settings, state, variables, counting, configuration."""
