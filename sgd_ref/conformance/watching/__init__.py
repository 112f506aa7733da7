"""Watching a real training loop: each step is judged by the rule that its optimizer is held to."""
