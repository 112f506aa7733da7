"""The kit's test of itself: which case exposes which deviation, and how wide the bounds are."""
