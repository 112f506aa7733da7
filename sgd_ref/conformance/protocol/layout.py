"""JSON files that people compare: their layout, and how they are written."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from sgd_ref.conformance.protocol.json_lines import Json


def laid_out(value: Json, levels: int) -> bytes:
    r"""Return JSON with one line for each part of the outermost levels, so that a change gives a short diff.

    >>> laid_out({"a": [1, [2, 3]], "b": {}}, levels=2)
    b'{\n "a": [\n  1,\n  [2,3]\n ],\n "b": {}\n}\n'
    """
    return (_text(value, levels, "") + "\n").encode()


def write_at_once(path: Path, content: bytes) -> None:
    """Write a file as a whole or not at all; for its owner alone, as temporary files are.

    Raises
    ------
    OSError
        If it cannot be written; what was there before is left.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _text(value: Any, levels: int, indent: str) -> str:
    if not levels or not value or not isinstance(value, (dict, list)):
        return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    inner = f"{indent} "
    if isinstance(value, dict):
        parts = [f"{json.dumps(key)}: {_text(part, levels - 1, inner)}" for key, part in value.items()]
        opening, closing = "{", "}"
    else:
        parts = [_text(part, levels - 1, inner) for part in value]
        opening, closing = "[", "]"
    return f"{opening}\n{inner}" + f",\n{inner}".join(parts) + f"\n{indent}{closing}"
