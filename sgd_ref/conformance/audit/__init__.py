"""The kit tested by itself: which case exposes which deviation, and how wide the bounds are."""
