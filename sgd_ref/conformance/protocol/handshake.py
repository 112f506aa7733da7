"""The first line of an implementation: what it is, and what it claims to offer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any

from sgd_ref.arithmetic.formats import BY_NAME
from sgd_ref.conformance.catalogue.axes import AXES
from sgd_ref.conformance.protocol import encoding
from sgd_ref.conformance.protocol.failures import InvalidAnswer
from sgd_ref.validation import boolean, reject_type, reject_value, text

PROTOCOL = 1

LONGEST_HANDSHAKE = 2**16


@dataclass(frozen=True)
class Handshake:
    """What an implementation says of itself before the first case.

    Attributes
    ----------
    name, version, language : str
        The implementation, and what it is written in.
    dtypes : list of str or None
        The dtypes of variables that it claims to offer; None claims nothing.
    features : dict of str to list of str
        For axes such as ``"update"``, the values that it claims to offer.
    versions : dict of str to str
        What it is built on.
    digests : bool
        Whether it answers with digests to cases that are made by a rule; it is sent none otherwise.
    rule : str
        Name of the documented rule that it is to be held to; whether there is one is asked of `Profile`.
    by_design : list of str
        Names of known deviations that it has on purpose.
    """

    name: str
    version: str
    language: str = ""
    dtypes: list[str] | None = None
    features: dict[str, list[str]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    digests: bool = False
    rule: str = "keras"
    by_design: list[str] = field(default_factory=list)


def handshake_from_line(line: bytes) -> Handshake:
    r"""Return the handshake that is written in `line`.

    Raises
    ------
    InvalidAnswer
        If it is none; the message says which part is not as it has to be.

    Examples
    --------
    >>> handshake_from_line(b'{"protocol": 1, "name": "my_sgd", "version": "1.0"}\n').name
    'my_sgd'
    >>> handshake_from_line(b'{"protocol": 2, "name": "my_sgd", "version": "1.0"}\n')
    Traceback (most recent call last):
    sgd_ref.conformance.protocol.failures.InvalidAnswer: the handshake: protocol must be 1, got 2
    """
    try:
        return _from_json(encoding.from_line(line))
    except (TypeError, ValueError) as error:
        raise InvalidAnswer(f"the handshake: {error}") from error


def _from_json(document: encoding.Json) -> Handshake:
    protocol = document.get("protocol")
    if isinstance(protocol, bool) or protocol != PROTOCOL:
        reject_value("protocol", protocol, f"{PROTOCOL}")
    accepted = {"protocol", *(entry.name for entry in fields(Handshake))}
    unknown = sorted(set(document) - accepted)
    if unknown:
        reject_value("the keys", unknown, f"of {sorted(accepted)} alone")
    dtypes, language = document.get("dtypes"), document.get("language")
    return Handshake(
        name=_line("name", document.get("name")),
        version=_line("version", document.get("version")),
        language="" if language in (None, "") else _line("language", language),
        dtypes=None if dtypes is None else _values("dtypes", dtypes, BY_NAME),
        features={
            axis: _values(f"features.{axis}", values, _values_of(axis))
            for axis, values in _object("features", document.get("features")).items()
        },
        versions={
            _line("the keys of versions", package): _line(f"versions.{package}", version)
            for package, version in _object("versions", document.get("versions")).items()
        },
        digests=boolean("digests", document.get("digests", False)),
        rule=_line("rule", document.get("rule", "keras")),
        by_design=_names("by_design", document.get("by_design", [])),
    )


def _values_of(axis: str) -> tuple[str, ...]:
    if axis not in AXES:
        reject_value("the keys of features", axis, f"among {', '.join(AXES)}")
    return AXES[axis]


def _values(name: str, values: Any, accepted: Iterable[str]) -> list[str]:
    if not isinstance(values, list):
        reject_type(name, values, "a list of strings")
    for value in values:
        if text(name, value) not in accepted:
            reject_value(name, value, f"a list of some of {', '.join(accepted)}")
    return values


def _names(name: str, values: Any) -> list[str]:
    if not isinstance(values, list):
        reject_type(name, values, "a list of strings")
    return [_line(name, value) for value in values]


def _line(name: str, value: Any) -> str:
    if not text(name, value).isprintable():
        reject_value(name, value, "one line of printable characters")
    return str(value)


def _object(name: str, document: Any) -> encoding.Json:
    if document is None:
        return {}
    if not isinstance(document, dict):
        reject_type(name, document, "an object with named parts")
    return document
