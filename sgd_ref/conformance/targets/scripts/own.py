"""The code with which a script takes an optimizer of the user in place of the framework's own."""

from __future__ import annotations

import re

from sgd_ref.validation import reject_value

NAME = "Optimizer"
"""The name of the user's optimizer in a script."""

CODE = """\
# The module is looked for in the folder where the script is started.
sys.path.insert(0, os.getcwd())

import {module}

{name} = {module}.{path}
"""


def imported(optimizer: str) -> str:
    """Return the code that imports the class or function ``module:name``.

    Raises
    ------
    ValueError
        If it is written otherwise.

    Examples
    --------
    >>> print(imported("optimizers.mine:SGD").splitlines()[-1])
    Optimizer = optimizers.mine.SGD
    """
    if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", optimizer):
        reject_value("optimizer", optimizer, "module:name, such as my_optimizers:SGD")
    module, _, path = optimizer.partition(":")
    return CODE.format(module=module, path=path, name=NAME)
