"""The arithmetics on which formulas run: rounded numbers, exact numbers, and intervals."""
