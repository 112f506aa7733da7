"""The process that runs scripts with one release: ``python several.py``, in the environment of the release.

It needs the standard library alone. Standard input is a JSON object: "imports", the modules that are imported
once; "packages", whose versions are told; "limit", the seconds of the processor that a script may take, and
"patience", those of a clock; "scripts", from a name to the text. Standard output gets one object: "versions",
and "answers", from a name to

- "ended": "equal" if the script ends; "differs" if it exits with another status than 0, or an assertion
  fails; "fails" if it raises anything else or takes too long;
- "said": what it printed;
- "error": the last line of the error that it raised, or nothing.

Each script runs in a process that is forked when the modules are there, so that none sees what another did.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import json
import os
import platform
import signal
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

Answer = dict[str, str]

TOO_LONG = (signal.SIGALRM, signal.SIGPROF)
"""What ends a script that takes too long."""


def ended(script: str) -> tuple[str, str]:
    """Return how a script ends, and the error that it raised."""
    try:
        exec(compile(script, "script.py", "exec"), {"__name__": "__main__"})  # noqa: S102
    except AssertionError as error:
        return "differs", str(error)
    except SystemExit as status:
        return ("differs" if status.code else "equal"), ""
    # A release may lack what the script uses, which is an answer.
    except BaseException as error:
        return "fails", "".join(traceback.format_exception_only(type(error), error)).strip()
    return "equal", ""


def answer(script: str, limit: int, patience: int) -> Answer:
    """Return what a script does in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        said, told = Path(folder, "said"), Path(folder, "told")
        child = os.fork()
        if child == 0:
            # A busy machine takes its time, and a script that waits takes none of the processor.
            signal.setitimer(signal.ITIMER_PROF, limit)
            signal.alarm(patience)
            _in_the_child(script, said, told)
        _, status = os.waitpid(child, 0)
        result = {"ended": "fails", "said": _text(said), "error": "it took too long"}
        if told.exists():
            result["ended"], result["error"] = json.loads(_text(told))
        elif os.WIFSIGNALED(status) and os.WTERMSIG(status) not in TOO_LONG:
            result["error"] = f"it was ended by signal {os.WTERMSIG(status)}"
        return result


def _in_the_child(script: str, said: Path, told: Path) -> None:
    with said.open("w", encoding="utf-8") as out, contextlib.redirect_stdout(out):
        result = ended(script)
    told.write_text(json.dumps(result), encoding="utf-8")
    # Frameworks have threads, which are not there after a fork and cannot be waited for.
    os._exit(0)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def _versions(packages: list[str]) -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions


def main() -> None:
    """Answer to the request on standard input."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # Frameworks print to standard output, also from C.
    os.dup2(2, 1)
    request: dict[str, Any] = json.load(sys.stdin)
    for module in request["imports"]:
        importlib.import_module(module)
    limits = request["limit"], request["patience"]
    given = {name: answer(text, *limits) for name, text in request["scripts"].items()}
    json.dump({"versions": _versions(request["packages"]), "answers": given}, answers)
    answers.flush()


if __name__ == "__main__":
    main()
