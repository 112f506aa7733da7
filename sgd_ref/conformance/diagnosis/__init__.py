"""Code that explains one wrong answer: which known deviations give it, where it parts, and a shorter case.

It works on any implementation, while ``sgd-ref conform`` runs. ``targets.findings`` keeps the results for the
frameworks that the kit knows, as data.
"""
