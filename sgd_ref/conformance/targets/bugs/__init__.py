"""Bugs of frameworks, ready to be reported: each with a script that needs its framework alone."""
