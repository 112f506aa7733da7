"""Write, verify, compare and list the golden data, and record answers beside it."""
