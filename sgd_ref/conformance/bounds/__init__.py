"""Derived bounds: what any faithful evaluation of the rule may give, and the judge that uses them."""
