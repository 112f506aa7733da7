"""Ctrl-C while processes are started."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from sgd_ref.conformance.grading.sweep.interrupts import ignoring_interrupts


def handler() -> object:
    with ignoring_interrupts():
        return signal.getsignal(signal.SIGINT)


def test_the_handler_of_before_is_there_again_also_after_an_error() -> None:
    before = signal.getsignal(signal.SIGINT)
    assert handler() is signal.SIG_IGN
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(ZeroDivisionError), ignoring_interrupts():
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGINT) is before


def test_in_another_thread_nothing_changes() -> None:
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(handler).result() is signal.getsignal(signal.SIGINT)
