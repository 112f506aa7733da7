"""The judge, and its derived bounds: the interval of all values that a faithful evaluation may give."""
