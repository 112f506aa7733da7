"""Frameworks whose training loops are watched; each is imported when it is watched."""
