"""Answers graded: run an implementation over cases, one verdict each."""
