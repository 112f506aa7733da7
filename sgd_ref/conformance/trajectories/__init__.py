"""Trajectories, the answers to cases: how the reference computes one, and how two are compared."""
