"""Mutants of the reference: whether the golden files notice each small change of a formula."""
