"""The content of the golden data, a module for each kind of entry."""
