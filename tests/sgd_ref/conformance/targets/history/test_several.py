"""The process that runs scripts: how they end, what they said, and that none sees another."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from typing import Any

import pytest

from sgd_ref.conformance.targets.history import several

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="scripts run in forked processes")


def run(scripts: dict[str, str], imports: tuple[str, ...] = ()) -> dict[str, Any]:
    request = {"imports": list(imports), "packages": ["numpy", "no-such"], "scripts": scripts}
    request |= {"limit": 1, "patience": 2}
    done = subprocess.run(
        [sys.executable, several.__file__],
        input=json.dumps(request).encode(),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    answers: dict[str, Any] = json.loads(done.stdout)
    return answers


def test_how_scripts_end() -> None:
    told = run(
        {
            "equal": "print('expected: 1')",
            "status 0": "import sys; sys.exit()",
            "exits": "import sys; print('call 0'); sys.exit('the implementation still differs')",
            "asserts": "print('actual: 2'); assert 1 == 2, 'no'",
            "raises": "raise TypeError('no such\\nsetting')",
            "main": "if __name__ == '__main__': raise AssertionError",
            "syntax": "def",
            "dies": "import os; os.kill(os.getpid(), 9)",
            "sleeps": "import time; time.sleep(60)",
            "works": "while True: pass",
        }
    )
    answers = told["answers"]
    assert {name: one["ended"] for name, one in answers.items()} == {
        "equal": "equal",
        "status 0": "equal",
        "exits": "differs",
        "asserts": "differs",
        "raises": "fails",
        "main": "differs",
        "syntax": "fails",
        "dies": "fails",
        "sleeps": "fails",
        "works": "fails",
    }
    assert answers["asserts"] == {"ended": "differs", "said": "actual: 2\n", "error": "no"}
    assert answers["raises"]["error"] == "TypeError: no such\nsetting"
    assert answers["dies"]["error"] == "it was ended by signal 9"
    assert answers["sleeps"]["error"] == answers["works"]["error"] == "it took too long"


def test_none_sees_what_another_did() -> None:
    told = run(
        {"sets": "import json; json.kept = 1", "looks": "import json; assert not hasattr(json, 'kept')"},
        imports=("json",),
    )
    assert {one["ended"] for one in told["answers"].values()} == {"equal"}


def test_versions_are_told() -> None:
    versions = run({})["versions"]
    assert versions["python"] == platform.python_version()
    assert set(versions) == {"python", "numpy"}


def test_what_frameworks_print_does_not_get_among_the_answers() -> None:
    assert run({"c": "import os; os.write(1, b'noise')"})["answers"]["c"]["ended"] == "equal"
