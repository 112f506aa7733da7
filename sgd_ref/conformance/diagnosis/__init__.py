"""Code that explains a wrong answer: the known deviations that give it, the first difference, a shorter case.

It works on any implementation, while ``sgd-ref conform`` runs. ``targets.findings`` keeps the results for the
frameworks that the kit knows, as data.
"""
