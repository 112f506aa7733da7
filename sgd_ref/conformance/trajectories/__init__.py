"""What is answered: the trajectory of the reference, and comparisons with it."""
