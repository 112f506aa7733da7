"""Findings: kept data about the targets, each contradiction with the smallest case that shows it.

``conformance.diagnosis`` is the code that explains a single answer; it keeps nothing.
"""
