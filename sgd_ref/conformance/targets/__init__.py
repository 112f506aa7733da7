"""Implementations under test that come with the kit."""
