"""Handshakes: what is claimed is read, and nothing else is accepted."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sgd_ref.conformance.protocol import handshake
from sgd_ref.conformance.protocol.failures import InvalidAnswer
from sgd_ref.conformance.protocol.handshake import Handshake, handshake_from_line, handshake_to_json

LEAST = {"protocol": 1, "name": "my_sgd", "version": "1.0"}


def read(**parts: Any) -> Handshake:
    return handshake_from_line(json.dumps(LEAST | parts).encode())


def test_the_least() -> None:
    assert read() == Handshake("my_sgd", "1.0")
    assert read(language=None, dtypes=None, features=None, versions=None) == Handshake("my_sgd", "1.0")


def test_everything() -> None:
    parts: dict[str, Any] = {
        "language": "C",
        "dtypes": ["float32", "bfloat16"],
        "features": {"update": ["plain", "nesterov"], "dtype": ["mixed"]},
        "versions": {"libm": "2.39"},
        "digests": True,
    }
    assert read(**parts) == Handshake("my_sgd", "1.0", **parts)
    later: dict[str, Any] = {
        "offers": ["float32", "momentum", "filled"],
        "velocities": {"sign": -1, "without_rate": True},
        "hidden_wider_state": False,
        "flush_to_zero": True,
        "rule": "pytorch",
        "by_design": ["ascends"],
    }
    assert read(protocol=2, **parts, **later) == Handshake("my_sgd", "1.0", **parts, **later)


def test_what_is_written_is_read_again_and_says_the_lowest_version() -> None:
    for parts in (
        {},
        {"digests": True},
        {"offers": []},
        {"velocities": {"sign": -1}},
        {"flush_to_zero": True},
        {"rule": "sutskever", "by_design": ["ascends"]},
    ):
        given = Handshake("my_sgd", "1.0", **parts)
        document = handshake_to_json(given)
        assert handshake_from_line(json.dumps(document).encode()) == given
        assert document["protocol"] == (1 if set(parts) <= {"digests"} else 2)


@pytest.mark.parametrize("parts", [{}, {"flush_to_zero": True}])
def test_an_older_kit_refuses_what_it_does_not_know_and_nothing_else(
    parts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = json.dumps(handshake_to_json(Handshake("my_sgd", "1.0", **parts))).encode()
    monkeypatch.setattr(handshake, "PROTOCOL", 1)
    if not parts:
        assert handshake_from_line(line).name == "my_sgd"
        return
    with pytest.raises(InvalidAnswer, match="protocol must be 1; the program needs a newer sgd-ref, got 2"):
        handshake_from_line(line)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"protocol": 3}, "protocol must be 1 or 2; the program needs a newer sgd-ref, got 3"),
        ({"protocol": 0}, "protocol must be 1 or 2, got 0"),
        ({"protocol": "1"}, "protocol must be 1 or 2, got '1'"),
        ({"protocol": True}, "protocol must be 1 or 2, got True"),
        ({"offers": ["plain"]}, "protocol must be 2 for the keys offers, got 1"),
        ({"protocol": 2, "offers": "plain"}, "offers must be a list of strings, got 'plain'"),
        ({"protocol": 2, "offers": ["quick"]}, "a word for what is offered must be one of .*, got 'quick'"),
        ({"protocol": 2, "offers": [1]}, "offers must be a string, got 1"),
        ({"protocol": 2, "velocities": {"sign": 2}}, r"velocities\.sign must be 1 or -1, got 2"),
        ({"protocol": 2, "velocities": {"scale": 2}}, r"keys of velocities must be some of .*'scale'"),
        ({"protocol": 2, "velocities": {"without_rate": 1}}, r"velocities\.without_rate must be"),
        ({"protocol": 2, "hidden_wider_state": 1}, "hidden_wider_state must be"),
        ({"protocol": 2, "flush_to_zero": None}, "flush_to_zero must be"),
        ({"name": None}, "name must be a string, got None"),
        ({"name": ""}, "name must be a string that is not empty"),
        ({"name": "two\nlines"}, "name must be one line of printable characters"),
        ({"name": "\x1b[31m"}, "name must be one line of printable characters"),
        ({"name": "\ud800"}, "name must be one line of printable characters"),
        ({"version": 1.0}, "version must be a string, got 1.0 of type float"),
        ({"language": ["C"]}, "language must be a string"),
        ({"protocol": 2, "rule": None}, "rule must be a string, got None"),
        ({"protocol": 2, "by_design": "ascends"}, "by_design must be a list of strings, got 'ascends'"),
        ({"protocol": 2, "by_design": [1]}, "by_design must be a string, got 1"),
        ({"dtypes": "float32"}, "dtypes must be a list of strings, got 'float32'"),
        ({"dtypes": [32]}, "dtypes must be a string, got 32"),
        ({"dtypes": ["double"]}, "dtypes must be a list of some of float16, bfloat16, float32, float64, got"),
        ({"features": ["update"]}, "features must be an object"),
        (
            {"features": {"momentum": ["classic"]}},
            "keys of features must be among dtype, update, .*'momentum'",
        ),
        ({"features": {"update": "plain"}}, r"features\.update must be a list of strings"),
        ({"features": {"update": ["fast"]}}, r"features\.update must be a list of some of plain, .*'fast'"),
        ({"features": {"update": [["plain"]]}}, r"features\.update must be a string"),
        ({"versions": "2.39"}, "versions must be an object"),
        ({"digests": 1}, "digests must be"),
        ({"versions": {"libm": 2.39}}, r"versions\.libm must be a string"),
        ({"versions": {"": "1"}}, "keys of versions must be a string that is not empty"),
        ({"time": 1, "more": 2}, r"the keys must be of \[.*\] alone, got \['more', 'time'\]"),
    ],
)
def test_wrong_parts_are_named(parts: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidAnswer, match=f"^the handshake: .*{message}"):
        read(**parts)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"", "not a line of JSON"),
        (b"[1]", "not a JSON object"),
        (b"\xff", "not a line of JSON"),
        (b'{"protocol": 1, "protocol": 1, "name": "n", "version": "1"}', "'protocol' is there 2 times"),
        (b'{"protocol": 1, "name": "n", "version": "1", "versions": {"a": "1", "a": "2"}}', "'a' is there 2"),
        (b'{"protocol": NaN, "name": "n", "version": "1"}', "NaN is no number of JSON"),
    ],
)
def test_what_is_no_message_is_refused(line: bytes, message: str) -> None:
    with pytest.raises(InvalidAnswer, match=f"^the handshake: .*{message}"):
        handshake_from_line(line)
