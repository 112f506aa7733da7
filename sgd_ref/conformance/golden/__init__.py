"""Golden data: cases with the answers of the reference as text, for every language, kept true."""
