"""Running a script, to see whether it shows the wrong value here and now."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from sgd_ref.conformance.targets.scripts.of_watched import Watched

TIME_LIMIT = 300
"""The seconds that a script may run."""


def shown_by(script: Watched) -> tuple[bool, str]:
    """Return whether a script shows the wrong value, and the last line of an error that ended it, or "".

    The script runs in the present folder, and finds the modules that this process finds.
    """
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    with tempfile.TemporaryDirectory(prefix="sgd-ref-") as folder:
        file = Path(folder, "reproduce.py")
        file.write_text(script.text, encoding="utf-8")
        try:
            done = subprocess.run(
                [sys.executable, str(file)],
                env={**os.environ, "PYTHONPATH": path},
                capture_output=True,
                text=True,
                check=False,
                timeout=TIME_LIMIT,
            )
        except subprocess.TimeoutExpired:
            return False, f"it ran longer than {TIME_LIMIT} seconds"
    if "Traceback" in done.stderr:
        return False, done.stderr.strip().splitlines()[-1]
    return script.place in done.stdout, ""
