"""Targets: the frameworks that the kit can run by name, and the ledgers of what each is expected to do."""
