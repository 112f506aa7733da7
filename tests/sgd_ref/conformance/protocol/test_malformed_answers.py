"""Right answers, spoilt at random: no hang, no crash, and none passes that does not say what is right."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sgd_ref.conformance.catalogue import tiers
from sgd_ref.conformance.catalogue.case import Case, Implementation
from sgd_ref.conformance.grading.check import grade
from sgd_ref.conformance.grading.findings import Findings
from sgd_ref.conformance.grading.verdict import Report, Verdict
from sgd_ref.conformance.protocol import encoding
from sgd_ref.conformance.protocol.answer import trajectory_of
from sgd_ref.conformance.protocol.worker import Worker
from sgd_ref.conformance.reports import files
from sgd_ref.conformance.trajectories import reference

# No rounding anywhere, so that no other bits than the right ones are right.
NAMES = (
    "exact/averages-of-momentum/float32",
    "exact/clipnorm/bfloat16",
    "exact/dynamic-loss-scale-and-averages/float64",
)
CASES = [case for case in tiers.cases() if case.id in NAMES]

MESSAGES = 1000

JUNK = (
    *("null", "true", "-1", "1.5", "1e999", "-0", "NaN", "-Infinity", "99999999999999999999", "{}", "[]"),
    *('""', '"float16"', '"3f800000"', r'"\ud800"', r'"\u0000\u001b[31m"', "[[[]]]", '{"a":1}', "1" * 5000),
    *("[" * 50_000 + "]" * 50_000, '{"a":' * 50_000, "[0,1000000000000000000000000000000]", "[-1]"),
)

FAKE = """
import sys, time
write = sys.stdout.buffer.write
write(b'{"protocol": 1, "name": "spoilt", "version": "1"}' + bytes([10]))
sys.stdout.flush()
for line in sys.stdin.buffer:
    with open(sys.argv[1], "rb") as file:
        ending, answer = file.read(1), file.read()
    write(answer)
    sys.stdout.flush()
    if ending == b"s":
        time.sleep(600)
    if ending == b"l":
        sys.exit()
"""

Spoil = Callable[[np.random.Generator, bytes], bytes]


def right_answer(case: Case) -> bytes:
    return encoding.to_line({"id": case.id, "trajectory": encoding.trajectory_to_json(reference.run(case))})


def place(generator: np.random.Generator, line: bytes) -> int:
    return int(generator.integers(len(line)))


def truncated(generator: np.random.Generator, line: bytes) -> bytes:
    return line[: place(generator, line)]


def truncated_within_a_line(generator: np.random.Generator, line: bytes) -> bytes:
    return truncated(generator, line) + b"\n"


def flipped(generator: np.random.Generator, line: bytes) -> bytes:
    spoilt = bytearray(line)
    for _ in range(generator.integers(1, 4)):
        spoilt[place(generator, line)] ^= 1 << int(generator.integers(8))
    return bytes(spoilt)


def cut_out(generator: np.random.Generator, line: bytes) -> bytes:
    start = place(generator, line)
    return line[:start] + line[start + int(generator.integers(1, 40)) :]


def stuttered(generator: np.random.Generator, line: bytes) -> bytes:
    start = place(generator, line)
    return line[: start + int(generator.integers(1, 40))] + line[start:]


def with_noise(generator: np.random.Generator, line: bytes) -> bytes:
    start = place(generator, line)
    return line[:start] + generator.bytes(int(generator.integers(1, 9))) + line[start:]


def with_junk_for_a_value(generator: np.random.Generator, line: bytes) -> bytes:
    values = list(re.finditer(rb'(?<=[:,\[])("[^"]*"|\d+|\[[\d,]*\])(?=[,\]}])', line))
    value = values[generator.integers(len(values))]
    junk = JUNK[generator.integers(len(JUNK))].encode()
    return line[: value.start()] + junk + line[value.end() :]


def without_a_key(generator: np.random.Generator, line: bytes) -> bytes:
    document = json.loads(line)
    parts = [document, *document["trajectory"], *document["trajectory"][0]["variables"]]
    part = parts[generator.integers(len(parts))]
    del part[list(part)[generator.integers(len(part))]]
    return encoding.to_line(document)


def with_a_key_twice(generator: np.random.Generator, line: bytes) -> bytes:
    keys = list(re.finditer(rb'"\w+":', line))
    key = keys[generator.integers(len(keys))]
    return line[: key.start()] + key[0] + b"0," + line[key.start() :]


def with_another_digit(generator: np.random.Generator, line: bytes) -> bytes:
    digits = [match.start() for match in re.finditer(rb"(?<=[0-9a-f ])[0-9a-f](?=[0-9a-f])", line)]
    position = digits[generator.integers(len(digits))]
    other = b"0123456789abcdefABCDEFgx+- _."[generator.integers(29)]
    return line[:position] + bytes([other]) + line[position + 1 :]


def with_records_exchanged(generator: np.random.Generator, line: bytes) -> bytes:
    document = json.loads(line)
    records = document["trajectory"]
    first, second = generator.integers(len(records), size=2)
    records[first] = records[second]
    if first == second:
        records[first]["variables"].reverse()
    return encoding.to_line(document)


def with_another_frame(generator: np.random.Generator, line: bytes) -> bytes:
    text = line.decode()
    frames = (
        line + line,
        b"\n" + line,
        b"noise\n" + line,
        text.encode("utf-8-sig"),
        text.encode("utf-16"),
        text.encode("utf-32"),
        b"[" + line[:-1] + b"]\n",
        line.replace(b"exact", b"other", 1),
        b"\x00" + line,
        line[:-1] + b"\r\n",
        line[:-1] + b" {}\n",
    )
    return frames[generator.integers(len(frames))]


SPOILERS: tuple[Spoil, ...] = (
    truncated,
    truncated_within_a_line,
    flipped,
    cut_out,
    stuttered,
    with_noise,
    with_junk_for_a_value,
    without_a_key,
    with_a_key_twice,
    with_another_digit,
    with_records_exchanged,
    with_another_frame,
)


def spoilt_answer(generator: np.random.Generator) -> tuple[Case, bytes]:
    case = CASES[generator.integers(len(CASES))]
    spoil = SPOILERS[generator.integers(len(SPOILERS))]
    return case, spoil(generator, right_answer(case))


def says_what_is_right(case: Case, answer: bytes) -> bool:
    """Whether an answer gives all variables, and nothing that differs, by a reading of its own."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len({key for key, _ in pairs}) == len(pairs)
        return {key: [int(n, 16) for n in v.split(" ") if n] if key == "bits" else v for key, v in pairs}

    read, right = (json.loads(line.decode(), object_pairs_hook=once) for line in (answer, right_answer(case)))
    records, right_records = read["trajectory"], right["trajectory"]
    return (
        read["id"] == case.id
        and set(read) == {"id", "trajectory"}
        and len(records) == len(right_records)
        and all("variables" in record for record in records)
        and all(
            right_record[key] == value
            for record, right_record in zip(records, right_records, strict=True)
            for key, value in record.items()
        )
    )


def assert_no_false_pass(verdict: Verdict, answer: bytes) -> None:
    assert verdict.grade in ("exact", "diverges", "error", "unsupported")
    if verdict.grade == "exact":
        assert says_what_is_right(verdict.case, answer)
    findings = Findings(Report("spoilt", {verdict.case.id: verdict}))
    files.to_json([findings]).encode()
    files.to_junit([findings]).encode()


def answering(answer: bytes) -> Implementation:
    return lambda case: trajectory_of(case, answer)


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_the_right_answer_passes(case: Case) -> None:
    answer = right_answer(case)
    assert grade(answering(answer), case).grade == "exact"
    assert says_what_is_right(case, answer)


def test_spoilt_answers_are_read_without_harm(sweep: Any) -> None:
    grades = []
    for _ in range(sweep.count(2 * MESSAGES)):
        case, answer = spoilt_answer(sweep.generator)
        verdict = grade(answering(answer), case)
        assert_no_false_pass(verdict, answer)
        assert verdict.grade != "error" or re.search("no answer to the case|no trajectory", verdict.message)
        grades.append(verdict.grade)
    assert grades.count("error") > len(grades) / 2


def test_spoilt_answers_of_a_process_neither_hang_nor_crash_nor_pass(sweep: Any, tmp_path: Path) -> None:
    answers = tmp_path / "answer"
    command = [sys.executable, "-I", "-S", "-c", FAKE, str(answers)]
    with Worker(command, time_limit=60.0) as patient, Worker(command, time_limit=0.3) as hasty:
        assert hasty.handshake.name == "spoilt"
        for _ in range(sweep.count(MESSAGES)):
            case, answer = spoilt_answer(sweep.generator)
            falls_silent = b"\n" not in answer and sweep.generator.random() < 0.2
            ending = b"s" if falls_silent else b"-" if answer.endswith(b"\n") else b"l"
            answers.write_bytes(ending + answer)
            verdict = grade(hasty if falls_silent else patient, case)
            assert_no_false_pass(verdict, answer)
            assert verdict.grade == "error" or answer.endswith(b"\n")
        for case in CASES:
            answers.write_bytes(b"-" + right_answer(case))
            # What followed the last answer and came late fails one case.
            assert "exact" in (grade(patient, case).grade, grade(patient, case).grade)
