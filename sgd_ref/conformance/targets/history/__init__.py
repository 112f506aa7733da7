"""Which releases have a contradiction: each release is installed in turn, and runs a target's findings."""
