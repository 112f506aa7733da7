"""Grading: run an implementation over cases and give a verdict on each."""
