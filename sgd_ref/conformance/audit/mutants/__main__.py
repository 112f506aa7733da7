"""The command: try all mutants of the reference, and say which of them no golden file notices."""

from __future__ import annotations

from sgd_ref.conformance.audit.mutants.running import main

if __name__ == "__main__":
    main()
