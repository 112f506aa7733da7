"""The mutants that no golden file can notice, each with the reason."""

from __future__ import annotations

from sgd_ref.conformance.audit.mutants.changes import Mutant


def reason_for(mutant: Mutant) -> str:
    """Return why a mutant cannot be noticed; empty if nothing is known."""
    return ""
