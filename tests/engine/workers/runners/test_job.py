"""Words for exits."""

from __future__ import annotations

import signal

import pytest

from engine.workers.runners.job import describe_status, exit_code, signal_name, start_failed


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (3 << 8, 3, "exit status 3"),
        (signal.SIGSEGV, 139, "killed by SIGSEGV"),
        (signal.SIGKILL, 137, "killed by SIGKILL (perhaps out of memory)"),
        (signal.SIGSEGV | 0x80, 139, "killed by SIGSEGV"),  # with a core
        (139 << 8, 139, "exit status 139 (a program that it ran was killed by SIGSEGV)"),
        (255 << 8, 255, "exit status 255"),
        (60, 188, "killed by signal 60"),
    ],
)
def test_wait_status(status, code, words):
    assert (exit_code(status), describe_status(status)) == (code, words)


def test_names_of_signals():
    assert signal_name(15) == "SIGTERM"
    assert signal_name(99) == "signal 99"


def test_start_failed():
    outcome = start_failed("no")
    assert (outcome.outcome, outcome.cause, outcome.retryable) == ("failed", "start_failed", False)
    assert start_failed("no", retryable=True).retryable
