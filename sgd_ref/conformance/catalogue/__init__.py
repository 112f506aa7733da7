"""The questions of the kit: a case, the axes of its features, and the catalogue of all cases."""
