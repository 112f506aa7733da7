"""Bugs of frameworks, ready to be reported. Each has a script that needs only its framework."""
