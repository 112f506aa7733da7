"""How the golden data is written down, and where it lies."""
