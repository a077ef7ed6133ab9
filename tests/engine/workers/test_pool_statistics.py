"""The pool's numbers, checked against a story whose numbers are known."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from engine.workers.pool_statistics import PoolCounts, PoolStatistics
from engine.workers.protocol import Work
from engine.workers.worker import Slot, Worker


def works(*keys: int) -> tuple[Work, ...]:
    return tuple(Work(key=key, attempt=1, lease=key, task_id=str(key), kind="shell") for key in keys)


def give(counts: PoolCounts, worker: Worker, now: float, *keys: int) -> None:
    worker.take(works(*keys), now)
    counts.gave(worker, len(keys))


def make(counts: PoolCounts, now: float) -> Worker:
    counts.created += 1
    return Worker(Slot(1), SimpleNamespace(host_id="w1.1", pid=1, ended=False), now)


def test_nothing_happened():
    assert PoolCounts().statistics((), 0) == PoolStatistics()
    assert PoolStatistics().get_reuse_rate() == 0.0


def test_the_first_task_of_a_process_is_not_reuse():
    counts = PoolCounts()
    a, b = make(counts, 0), make(counts, 0)
    give(counts, a, 0, 1)
    give(counts, a, 0, 2)
    give(counts, b, 0, 3, 4, 5)

    statistics = counts.statistics((a, b), 10)

    assert (statistics.dispatches, statistics.reused) == (5, 3)
    assert statistics.get_reuse_rate() == 60.0


def test_what_is_taken_back_was_no_dispatch():
    counts = PoolCounts()
    worker = make(counts, 0)
    give(counts, worker, 0, 1, 2, 3)
    counts.took_back(worker, 2)
    assert (counts.statistics((), 0).dispatches, counts.statistics((), 0).reused) == (1, 0)
    counts.took_back(worker, 1)
    assert (counts.statistics((), 0).dispatches, counts.statistics((), 0).reused) == (0, 0)
    counts.took_back(worker, 0)
    give(counts, worker, 0, 4)
    assert (counts.statistics((), 0).dispatches, counts.statistics((), 0).reused) == (1, 0)


def test_ends_are_told_apart():
    counts = PoolCounts()
    crashed, stopped, frozen = (make(counts, 0) for _ in range(3))
    stopped.stopping = True
    frozen.stopping = frozen.force_stopped = True
    for worker in (crashed, stopped, frozen):
        counts.ended(worker, 10)

    statistics = counts.statistics((), 10)

    assert (statistics.created, statistics.crashed, statistics.stopped, statistics.killed) == (3, 1, 2, 1)


def test_life_and_utilisation_count_the_dead_and_the_living():
    counts = PoolCounts()
    dead, living = make(counts, 0), make(counts, 10)
    give(counts, dead, 2, 1)
    dead.settle(7)
    counts.ended(dead, 10)
    give(counts, living, 15, 2)

    statistics = counts.statistics((living,), 20)

    assert statistics.average_lifetime == 10
    assert statistics.utilisation == pytest.approx(50.0)
    assert (statistics.active, statistics.busy, statistics.idle) == (1, 1, 0)
