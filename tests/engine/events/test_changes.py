"""The change log answers from any point, in order, and forgets old removals without lying about it."""

from __future__ import annotations

import random

from engine.events.changes import ChangeLog


def test_what_changed_after_a_version_comes_oldest_first():
    log = ChangeLog()
    for version, key in enumerate([10, 20, 30, 10], start=1):
        log.note(key, version)
    assert log.changed(0) == [20, 30, 10]
    assert log.changed(2) == [30, 10]
    assert log.changed(4) == []
    assert log.version_of(10) == 4


def test_a_removed_key_is_removed_and_no_longer_changed():
    log = ChangeLog()
    log.note("w1", 1)
    log.note_removed("w1", 2)
    assert (log.changed(0), log.removed(0), log.removed(2)) == ([], ["w1"], [])


def test_a_key_that_came_back_is_in_both():
    log = ChangeLog()
    log.note("w1", 1)
    log.note_removed("w1", 2)
    log.note("w1", 3)
    assert (log.changed(0), log.removed(0)) == (["w1"], ["w1"])


def test_removals_that_are_forgotten_move_the_horizon():
    log = ChangeLog(keep_removed=3)
    for version in range(1, 6):
        log.note_removed(version * 100, version)
    assert log.removed(0) == [300, 400, 500]
    assert log.horizon == 2, "a reader that stopped at version 1 has missed removal 2"


def test_it_agrees_with_a_full_search():
    chance = random.Random(7)
    log, model = ChangeLog(), {}
    for version in range(1, 2000):
        key = chance.randrange(50)
        if chance.random() < 0.2:
            log.note_removed(key, version)
            model.pop(key, None)
        else:
            log.note(key, version)
            model[key] = version
        since = chance.randrange(version + 1)
        expected = sorted((changed, key) for key, changed in model.items() if changed > since)
        assert log.changed(since) == [key for _, key in expected]
