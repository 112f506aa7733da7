"""Targets: the frameworks that the kit can run by name, and the ledgers with the expected results of each."""
