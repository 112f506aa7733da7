"""Why an answer diverges: which known deviations give it, where it parts, and the shortest case."""
