"""Bounds of any rule that is written as a subclass of the reference, by an analysis of its running error.

The bounds of ``bounds/`` know every form of the documented formulas and of no others. Those here hold for a
wrong rule, too. Its own code runs on arrays that know how large their terms are and how often they were
rounded.
"""
