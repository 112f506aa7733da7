"""The cases: what a case is, the axes of its features, and the catalogue of all cases."""
