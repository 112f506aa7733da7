"""Self-contained scripts: each shows how one implementation contradicts the documentation."""
