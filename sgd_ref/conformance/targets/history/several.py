"""The process that runs scripts with one release: ``python several.py``, in the environment of the release.

It needs only the standard library. Standard input is a JSON object with these keys: "imports", the modules
that are imported once; "packages", the packages whose versions the answer states; "limit" and "patience", the
seconds of processor time and of wall time that a script may take; "scripts", the text of each script by its
name. Standard output is one object with the keys "versions" and "answers". An answer, by the name of the
script, has these keys:

- "ended": "equal" if the script ends; "differs" if it exits with another status than 0, or an assertion
  fails; "fails" if it raises any other error or takes too long;
- "said": the output of the script;
- "error": the last line of the error that it raised, or an empty string.

Each script runs in a process that is forked after the imports, so that no script affects another.
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
"""The signal that ends a script that takes too long."""


def ended(script: str) -> tuple[str, str]:
    """Run a script, and return how it ends and the error that it raised."""
    try:
        exec(compile(script, "script.py", "exec"), {"__name__": "__main__"})  # noqa: S102
    except AssertionError as error:
        return "differs", str(error)
    except SystemExit as status:
        return ("differs" if status.code else "equal"), ""
    # A release may lack a feature that the script uses. This is an answer, too.
    except BaseException as error:
        return "fails", "".join(traceback.format_exception_only(type(error), error)).strip()
    return "equal", ""


def answer(script: str, limit: int, patience: int) -> Answer:
    """Run a script in a process of its own, and return the answer."""
    with tempfile.TemporaryDirectory() as folder:
        said, told = Path(folder, "said"), Path(folder, "told")
        child = os.fork()
        if child == 0:
            # Wall time alone would end scripts on a busy machine, and processor time alone would never end a
            # script that waits.
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
    # The threads of a framework do not exist after a fork, so that a normal exit could wait for them forever.
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
    """Answer the request on standard input."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # Frameworks print to standard output, also from C, and only the answer may be there.
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
