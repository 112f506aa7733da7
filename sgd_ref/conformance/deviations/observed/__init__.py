"""Deviations that were observed in real implementations, each with its evidence."""
