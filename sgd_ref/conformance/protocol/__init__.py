"""How cases and answers are said to another process, in any language."""
