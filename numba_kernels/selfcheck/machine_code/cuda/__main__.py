"""``python -m numba_kernels.selfcheck.machine_code.cuda``."""

from __future__ import annotations

import sys

from numba_kernels.selfcheck.machine_code.cuda.command import main

if __name__ == "__main__":
    sys.exit(main())
