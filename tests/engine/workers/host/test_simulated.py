"""The simulated agent in a host: it takes time without a process, prints, and can be stopped."""

from __future__ import annotations

from engine.workers.protocol import Cancel, Ping, Pong


def test_success(host):
    result = host.one(host.work("simulated", prompt="Quick fix", options={"seconds": 0.3, "lines": 12, "tokens": 1000}))
    assert (result.outcome, result.summary.lines, result.tokens.total) == ("succeeded", 12, 1000)
    assert result.duration >= 0.3
    assert result.summary.progress == "12/12"
    assert result.exit_code is None


def test_failure_on_request(host):
    work = host.work("simulated", options={"seconds": 0, "error": "quota used up"})
    result = host.one(work)
    assert (result.outcome, result.error, result.retryable) == ("failed", "quota used up", True)


def test_bad_option(host):
    result = host.one(host.work("simulated", options={"secs": 1}))
    assert (result.cause, result.retryable) == ("start_failed", False)
    assert "secs" in result.error


def test_cancel_and_timeout_and_ping(host):
    work = host.work("simulated", options={"seconds": 3600})
    host.give(work)
    host.until(lambda: host.started(work))
    host.send(Ping(3))
    host.until(lambda: host.heard(Pong))
    host.send(Cancel(work.key))
    assert host.result(work).outcome == "cancelled"
    late = host.one(host.work("simulated", options={"seconds": 3600, "lines": 0}, timeout=0.2))
    assert late.outcome == "timed_out"


def test_verify(host):
    work = host.work("simulated", options={"seconds": 0}, verify=("false",))
    result = host.one(work)
    assert (result.outcome, result.cause) == ("failed", "verify_failed")
    assert result.tokens is not None
