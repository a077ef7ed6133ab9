"""What a worker's silence and its answers lead to: by the clock alone, no processes."""

from __future__ import annotations

import pytest

from engine.workers.health import PING_SECONDS, Health, Step
from engine.workers.protocol import Pong, Started

LIMIT = 30.0


def asked(at: float = 100.0) -> Health:
    """One that was sent its first ping at `at`."""
    health = Health(at - PING_SECONDS)
    assert health.step(at, LIMIT) is Step.PING
    return health


def steps(health: Health, *times: float) -> list[Step]:
    return [health.step(now, LIMIT) for now in times]


def test_a_worker_is_asked_every_few_seconds_and_once():
    health = Health(0)
    assert steps(health, 0, 3.9, 4, 4.1, 8) == [Step.NOTHING, Step.NOTHING, Step.PING, Step.NOTHING, Step.NOTHING]
    assert health.waits

    health.heard(Pong(health.token, 77), 8.5)

    assert (health.waits, health.memory) == (False, 77)
    assert steps(health, 12, 12.5) == [Step.NOTHING, Step.PING]


def test_silence_is_first_woken_then_killed():
    health = asked()
    assert steps(health, 109.9, 110, 111, 129.9, 130) == [
        Step.NOTHING,
        Step.WAKE,
        Step.NOTHING,
        Step.NOTHING,
        Step.KILL,
    ]


def test_an_answer_after_the_waking_forgets_all():
    health = asked()
    assert steps(health, 110) == [Step.WAKE]
    health.heard(Pong(health.token), 111)

    assert steps(health, 115, 124.9, 125) == [Step.PING, Step.NOTHING, Step.WAKE]


def test_whatever_it_says_is_a_sign_of_life():
    health = asked()
    for now in range(105, 400, 5):
        health.heard(Started(1, 1, 0.0), now)
        assert health.step(now + 4, LIMIT) is Step.NOTHING
    assert health.waits
    assert steps(health, 410, 425) == [Step.WAKE, Step.KILL]


def test_what_it_says_unasked_is_not_waited_for():
    health = Health(0)
    health.heard(Started(1, 1, 0.0), 3)
    assert not health.waits


def test_an_answer_to_another_ping_measures_nothing():
    health = asked()
    health.heard(Pong(health.token + 1, 55), 101)
    assert (health.waits, health.memory) == (True, 0)


@pytest.mark.parametrize("excused", [True, False])
def test_a_silence_while_nobody_listened_is_excused(excused):
    health = asked()
    if excused:
        health.excuse(1000)
    assert steps(health, 1000) == [Step.NOTHING if excused else Step.KILL]
    assert steps(health, 1030) == [Step.KILL]


def test_there_is_nothing_to_excuse_when_nothing_was_asked():
    health = Health(0)
    health.excuse(3)
    assert not health.waits
