"""Self-contained scripts that show what an implementation does otherwise than is documented."""
