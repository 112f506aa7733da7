"""Recipes for ``sgd-ref regenerate``: one for each part of the data that the repository keeps."""
