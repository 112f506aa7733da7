"""LLVM's textual form: the parsing of instructions, and their meaning on symbols."""
