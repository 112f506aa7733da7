"""A fork of this process, in which threads of frameworks may be asleep."""

from __future__ import annotations

import os
import warnings


def fork() -> int:
    """Fork this process; return 0 in the child, and the number of the child in the parent.

    JAX, once it is imported, and Python from 3.12 on warn of the other threads of a process that is forked.
    The children of this package call no framework, and end with ``os._exit``.

    Examples
    --------
    >>> child = fork()
    >>> if child == 0:
    ...     os._exit(3)
    >>> os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    3
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return os.fork()
