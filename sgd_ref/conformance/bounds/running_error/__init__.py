"""Bounds for any rule that is written as a subclass of the reference, by a running error analysis.

The bounds of ``bounds/`` know every form of the documented formulas, and no other formulas. The bounds here
hold for a wrong rule, too. The code of the rule runs on arrays that know the sizes of their terms and their
numbers of roundings.
"""
