"""A worker's book-keeping and its slot's health: no processes."""

from __future__ import annotations

from types import SimpleNamespace

from engine.workers.protocol import Work
from engine.workers.worker import Slot, Worker


def work(key: int) -> Work:
    return Work(key=key, attempt=1, lease=key * 10, task_id=str(key), kind="shell")


def make_worker(now: float = 100.0) -> Worker:
    slot = Slot(2)
    process = SimpleNamespace(host_id=slot.next_host_id(), pid=5, ended=False)
    return Worker(slot, process, now)


def test_it_may_be_lent_only_when_ready_idle_and_staying():
    worker = make_worker()
    assert not worker.is_free
    worker.ready = True
    assert worker.is_free
    for name in ("reserved", "retiring"):
        setattr(worker, name, True)
        assert not worker.is_free, name
        setattr(worker, name, False)
    worker.take((work(1),), 101)
    assert not worker.is_free
    worker.outstanding.clear()
    worker.process.ended = True
    assert not worker.is_free


def test_busy_time_counts_from_the_first_task_to_the_last_result():
    worker = make_worker()
    worker.take((work(1),), 110)
    worker.take((work(2),), 112)
    assert worker.busy_time(115) == 5
    worker.settle(120)
    worker.settle(130)
    assert (worker.busy_time(140), worker.idle_since) == (10, 130)


def test_what_is_outstanding_splits_at_the_lease_on_the_page():
    worker = make_worker()
    works = tuple(work(key) for key in (1, 2, 3))
    worker.take(works, 101)

    assert worker.split_outstanding(20) == (works[:2], works[2:])
    assert worker.split_outstanding(0) == ((), works)
    assert worker.split_outstanding(99) == (works, ())
    assert worker.split_outstanding(None) == (works, ())


def test_it_describes_itself():
    worker = make_worker()
    assert repr(worker) == "<Worker w2.1 pid=5 idle>"
    worker.take((work(1),), 101)
    worker.retiring = True
    assert repr(worker) == "<Worker w2.1 pid=5 1 outstanding retiring>"


def test_a_slot_numbers_its_processes():
    slot = Slot(3)
    assert (slot.name, slot.next_host_id(), slot.next_host_id()) == ("w3", "w3.1", "w3.2")


def test_five_failures_in_ten_seconds_are_too_many():
    slot = Slot(1)
    assert [slot.failed(now) for now in (0, 1, 2, 3, 10)] == [False] * 4 + [True]


def test_failures_far_apart_are_not():
    slot = Slot(1)
    assert not any(slot.failed(now) for now in range(0, 300, 3))


def test_rests_grow_until_a_worker_works():
    slot = Slot(1)
    assert [slot.rest(50) for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    assert slot.broken_until == 80
    slot.worked()
    assert slot.rest(0) == 1


def test_work_forgives_failures():
    slot = Slot(1)
    for now in (0, 1, 2, 3):
        slot.failed(now)
    slot.worked()
    assert not slot.failed(4)
