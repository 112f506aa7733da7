"""``python -m numba_kernels.check.cuda_code``."""

from __future__ import annotations

import sys

from numba_kernels.check.cuda_code.command import main

if __name__ == "__main__":
    sys.exit(main())
