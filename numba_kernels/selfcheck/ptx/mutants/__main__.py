"""``python -m numba_kernels.selfcheck.ptx.mutants``."""

from __future__ import annotations

import sys

from numba_kernels.selfcheck.ptx.mutants.command import main

if __name__ == "__main__":
    sys.exit(main())
