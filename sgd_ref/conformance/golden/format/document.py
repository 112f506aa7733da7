"""The text of golden files: their layout, the canonical form of entries, and hashes."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from sgd_ref.conformance.protocol.encoding import Json

FORMAT = 4
"""The version of the layout of every file; see ``golden/VERSIONS.md``."""

DATA_VERSION = "4.0.0"
"""The version of the data: format, coverage, correction; see ``golden/VERSIONS.md``."""

GENERATOR = "sgd-ref golden write"

RECORDER = "sgd_ref.conformance.record"

HASH = "sha256"


def canonical(value: Any) -> str:
    """Return the canonical JSON of a value: keys sorted, no white space, UTF-8 as it is.

    >>> canonical({"b": [1, 2.5], "a": None})
    '{"a":null,"b":[1,2.5]}'
    """
    return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def content_hash(entry: Json) -> str:
    """Return the SHA-256 of the canonical JSON of an entry without its key ``sha256``.

    >>> content_hash({"id": "a", "sha256": "old"}) == content_hash({"id": "a"})
    True
    """
    content = {key: value for key, value in entry.items() if key != HASH}
    return hashlib.sha256(canonical(content).encode()).hexdigest()


def hashed(entry: Json) -> Json:
    """Return an entry with its content hash.

    >>> list(hashed({"id": "a"}))
    ['id', 'sha256']
    """
    return {**entry, HASH: content_hash(entry)}


def file_hash(content: bytes) -> str:
    """Return the SHA-256 of the bytes of a file."""
    return hashlib.sha256(content).hexdigest()


def document(kind: str, tier: str, entries: list[Json]) -> Json:
    """Return a golden file as an object.

    >>> document("stage", "parts", [])
    {'format': 4, 'kind': 'stage', 'tier': 'parts', 'entries': []}
    """
    return {"format": FORMAT, "kind": kind, "tier": tier, "entries": entries}
