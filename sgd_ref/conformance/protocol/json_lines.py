"""Messages as lines of JSON, without anything that two parsers could read differently."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

Json = dict[str, Any]


def to_line(message: Json) -> bytes:
    r"""Return `message` as one line of JSON.

    >>> to_line({"id": "plain", "trajectory": []})
    b'{"id":"plain","trajectory":[]}\n'
    """
    return json.dumps(message, allow_nan=False, separators=(",", ":")).encode() + b"\n"


def from_line(line: bytes) -> Json:
    """Return the message that is written in `line`.

    Raises
    ------
    ValueError
        If `line` is not one JSON object, has a key of an object twice, or has numbers that JSON lacks, such
        as NaN.
    """
    try:
        message = json.loads(
            line.decode(), parse_constant=_reject_constant, object_pairs_hook=_without_duplicates
        )
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not a line of JSON: {error}: {_beginning(line)}") from error
    if not isinstance(message, dict):
        raise ValueError(f"not a JSON object: {_beginning(line)}")
    return message


def _without_duplicates(pairs: list[tuple[str, Any]]) -> Json:
    message = dict(pairs)
    if len(message) != len(pairs):
        ((key, times),) = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"the key {key!r} is there {times} times")
    return message


def _reject_constant(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")


def _beginning(line: bytes) -> str:
    return repr(line[:200]) + ("..." if len(line) > 200 else "")
