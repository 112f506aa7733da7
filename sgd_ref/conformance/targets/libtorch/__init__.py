"""LibTorch, the library of PyTorch for C++, as a target."""
