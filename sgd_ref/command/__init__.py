"""The command ``sgd-ref``, one file a subcommand."""
