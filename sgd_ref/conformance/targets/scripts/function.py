"""The code with which a script runs a function of the user."""

from __future__ import annotations

CODE = """\
import os

# The module is looked for in the folder where the script is started.
sys.path.insert(0, os.getcwd())

import {module}

run = {module}.{path}
"""


def how_to_run(target: str) -> str:
    """Return the code that defines ``run(case)`` for a function ``module:function``.

    >>> print(how_to_run("optimizers.mine:SGD.run").splitlines()[-1])
    run = optimizers.mine.SGD.run
    """
    module, _, path = target.partition(":")
    return CODE.format(module=module, path=path)
