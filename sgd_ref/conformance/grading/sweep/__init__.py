"""Sweeps: long work in small units, done by a cluster, kept in a journal, with one result whatever dies."""
