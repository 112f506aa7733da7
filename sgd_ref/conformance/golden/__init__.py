"""Golden data: cases with the answers of the reference as text, for programs in any language."""
