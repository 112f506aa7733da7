"""Sweeps: long work in small units, done by a cluster and kept in a journal; failures change no result."""
