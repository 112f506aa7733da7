"""The two arithmetics on which the rule runs: rounded numbers and exact numbers."""
