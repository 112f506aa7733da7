"""Trajectories, the answers to cases: how the reference makes one, and how two are compared."""
