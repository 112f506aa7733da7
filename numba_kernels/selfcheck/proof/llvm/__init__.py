"""LLVM's textual form: what an instruction says, and what it means on symbols."""
