"""The pytest plugin: one test for each case, and a report of them all."""
