"""Three signals, three steps."""

import asyncio
import os
import signal

import pytest

from engine.session.signals import StopSignals


class Engine:
    def __init__(self):
        self.calls = []

    def drain(self):
        self.calls.append("drain")

    def cancel_all(self):
        self.calls.append("cancel")


@pytest.fixture
def heard():
    return []


@pytest.fixture
def signals(heard):
    return StopSignals(heard.append, leave=heard.append)


def test_first_drains_second_cancels_third_leaves(signals, heard):
    engine = Engine()
    signals.aim_at(engine)
    assert signals.code is None
    signals.receive(signal.SIGINT)
    assert engine.calls == ["drain"]
    assert "Ctrl-C again cancels" in heard[0]
    signals.receive(signal.SIGINT)
    assert engine.calls == ["drain", "cancel"]
    assert "leaves at once" in heard[1]
    signals.receive(signal.SIGINT)
    assert heard[2] == 130
    assert engine.calls == ["drain", "cancel"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)])
def test_the_code_is_that_of_the_signal(signals, heard, number, code):
    for _ in range(3):
        signals.receive(number)
    assert signals.code == code
    assert heard[-1] == code


def test_signals_of_different_kinds_count_together(signals, heard):
    signals.aim_at(engine := Engine())
    signals.receive(signal.SIGTERM)
    signals.receive(signal.SIGINT)
    assert engine.calls == ["drain", "cancel"]
    assert signals.code == 130


@pytest.mark.parametrize(("count", "calls"), [(0, []), (1, ["drain"]), (2, ["drain", "cancel"])])
def test_signals_during_the_start_take_effect_afterwards(signals, count, calls):
    for _ in range(count):
        signals.receive(signal.SIGINT)
    engine = Engine()
    signals.aim_at(engine)
    assert engine.calls == calls


async def test_real_signals_are_received_and_handlers_go_away(signals):
    before = signal.getsignal(signal.SIGTERM)
    engine = Engine()
    signals.aim_at(engine)
    with signals.installed():
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(20):
            while not engine.calls:
                await asyncio.sleep(0.01)
    assert signals.code == 143
    assert signal.getsignal(signal.SIGTERM) == before


async def test_an_ignored_signal_stays_ignored(signals):
    """``nohup`` ignores HUP on behalf of the user."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals.installed():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
