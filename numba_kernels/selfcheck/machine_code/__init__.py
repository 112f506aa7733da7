"""The compiled code, read: vectorised, without fused operations, without spills."""
