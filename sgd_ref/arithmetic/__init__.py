"""The kinds of numbers that formulas run on: rounded numbers, exact numbers, and intervals."""
