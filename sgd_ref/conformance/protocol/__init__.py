"""The exchange of cases and answers with another process, in any language."""
