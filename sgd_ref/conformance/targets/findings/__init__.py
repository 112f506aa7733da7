"""What targets do otherwise than is documented, each with the smallest case that shows it, as data."""
