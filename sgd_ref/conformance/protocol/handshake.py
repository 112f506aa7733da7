"""The first line of an implementation: its name, its versions and its claims."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from sgd_ref.arithmetic.formats import BY_NAME
from sgd_ref.conformance.catalogue.axes import AXES
from sgd_ref.conformance.catalogue.within import values_of
from sgd_ref.conformance.protocol import encoding
from sgd_ref.conformance.protocol.failures import InvalidAnswer
from sgd_ref.validation import boolean, reject_type, reject_value, text

PROTOCOL = 2
"""The version of the protocol. A program states the lowest version that has all keys of its handshake."""

VERSION_OF_KEYS = {
    "offers": 2,
    "velocities": 2,
    "hidden_wider_state": 2,
    "flush_to_zero": 2,
    "rule": 2,
    "by_design": 2,
}
"""The version of the protocol that introduced each key of the handshake; other keys are in version 1."""

LONGEST_HANDSHAKE = 2**16


@dataclass(frozen=True)
class Handshake:
    """What an implementation says of itself before the first case.

    Attributes
    ----------
    name, version, language : str
        The implementation, and the language that it is written in.
    dtypes : list of str or None
        The dtypes of variables that it claims to offer; None claims nothing.
    features : dict of str to list of str
        For axes such as ``"update"``, the values that it claims to offer.
    versions : dict of str to str
        The versions of the libraries that it is built on.
    digests : bool
        Whether it answers with digests to cases whose arrays a rule makes; otherwise no such case is sent.
    offers : list of str or None
        Words for the offered features, as for ``sgd-ref conform --offers``: no case that needs another
        feature is sent, and each value that a word names must be graded if a case has it.
    velocities : dict
        The form in which it keeps velocities: "sign" and "without_rate", as in ``grading.velocities``.
    hidden_wider_state : bool or None
        Whether its state is wider than what it reports; None if it does not say.
    flush_to_zero : bool
        Whether it replaces subnormal numbers by zeros.
    rule : str
        Name of the documented rule that it is held to; `Profile` checks that there is such a rule.
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
    offers: list[str] | None = None
    velocities: dict[str, Any] = field(default_factory=dict)
    hidden_wider_state: bool | None = None
    flush_to_zero: bool = False
    rule: str = "keras"
    by_design: list[str] = field(default_factory=list)


def handshake_to_json(handshake: Handshake) -> encoding.Json:
    """Return a handshake as an object of JSON, with the lowest version of the protocol that has its keys.

    Examples
    --------
    >>> handshake_to_json(Handshake("my_sgd", "1.0"))
    {'protocol': 1, 'name': 'my_sgd', 'version': '1.0'}
    >>> handshake_to_json(Handshake("my_sgd", "1.0", flush_to_zero=True))["protocol"]
    2
    """
    default = Handshake(handshake.name, handshake.version)
    said = {
        key: value
        for key, value in asdict(handshake).items()
        if key in ("name", "version") or value != getattr(default, key)
    }
    return {"protocol": max(VERSION_OF_KEYS.get(key, 1) for key in said), **said}


def handshake_from_line(line: bytes) -> Handshake:
    r"""Return the handshake that is written in `line`.

    Raises
    ------
    InvalidAnswer
        If `line` holds no valid handshake; the message says which part is wrong, and what is accepted.

    Examples
    --------
    >>> handshake_from_line(b'{"protocol": 1, "name": "my_sgd", "version": "1.0"}\n').name
    'my_sgd'
    >>> handshake_from_line(b'{"protocol": 1.5, "name": "my_sgd", "version": "1.0"}\n')
    Traceback (most recent call last):
    sgd_ref.conformance.protocol.failures.InvalidAnswer: the handshake: protocol must be 1 or 2, got 1.5
    """
    try:
        return _from_json(encoding.from_line(line))
    except (TypeError, ValueError) as error:
        raise InvalidAnswer(f"the handshake: {error}") from error


def _from_json(document: encoding.Json) -> Handshake:
    protocol = _protocol(document.get("protocol"))
    accepted = {"protocol", *(entry.name for entry in fields(Handshake))}
    unknown = sorted(set(document) - accepted)
    if unknown:
        reject_value("the keys", unknown, f"of {sorted(accepted)} alone")
    later = [key for key in document if VERSION_OF_KEYS.get(key, 1) > protocol]
    if later:
        needed = max(VERSION_OF_KEYS[key] for key in later)
        reject_value("protocol", protocol, f"{needed} for the keys {', '.join(sorted(later))}")
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
        offers=_offers(document.get("offers")),
        velocities=_velocities(_object("velocities", document.get("velocities"))),
        hidden_wider_state=_boolean_or_none(document, "hidden_wider_state"),
        flush_to_zero=boolean("flush_to_zero", document.get("flush_to_zero", False)),
        rule=_line("rule", document.get("rule", "keras")),
        by_design=_names("by_design", document.get("by_design", [])),
    )


def _protocol(version: Any) -> int:
    known = " or ".join(str(number) for number in range(1, PROTOCOL + 1))
    if type(version) is int and version > PROTOCOL:
        reject_value("protocol", version, f"{known}; the program needs a newer sgd-ref")
    if type(version) is not int or version < 1:
        reject_value("protocol", version, known)
    return version


def _offers(words: Any) -> list[str] | None:
    if words is None:
        return None
    if not isinstance(words, list):
        reject_type("offers", words, "a list of strings")
    values_of(text("offers", word) for word in words)
    return list(words)


def _velocities(document: encoding.Json) -> encoding.Json:
    if not set(document) <= {"sign", "without_rate"}:
        reject_value("the keys of velocities", sorted(document), "some of sign, without_rate")
    if document.get("sign", 1) not in (1, -1) or isinstance(document.get("sign"), bool):
        reject_value("velocities.sign", document["sign"], "1 or -1")
    boolean("velocities.without_rate", document.get("without_rate", False))
    return document


def _boolean_or_none(document: encoding.Json, name: str) -> bool | None:
    value = document.get(name)
    return None if value is None else boolean(name, value)


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
