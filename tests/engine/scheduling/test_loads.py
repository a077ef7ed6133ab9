import pytest

from engine.scheduling.loads import OVERDUE_SECONDS, Loads


@pytest.fixture
def entries(bench, task):
    bench.submit(*(task(name) for name in "abc"))
    return [bench.entry(name) for name in "abc"]


@pytest.fixture
def worker(bench):
    return bench.lender.workers[0]


def test_a_load_keeps_the_order_and_ends_with_its_last_task(entries, worker) -> None:
    loads = Loads()
    for entry in entries:
        loads.add(worker, entry, 0.0)
    assert loads[worker].first is entries[0]
    assert loads.prefetched

    loads.remove(worker, entries[0])
    assert loads[worker].first is entries[1]

    for entry in entries[1:]:
        loads.remove(worker, entry)
    assert worker not in loads
    assert not loads.prefetched


def test_only_what_waits_behind_a_slow_first_task_is_overdue_and_only_once_a_while(entries, worker) -> None:
    loads = Loads()
    for entry in entries:
        loads.add(worker, entry, 0.0)
    assert loads.overdue(OVERDUE_SECONDS / 2) == []

    assert loads.overdue(OVERDUE_SECONDS * 1.5) == [(worker, [entry.key for entry in entries[1:]])]

    assert loads.overdue(OVERDUE_SECONDS * 2) == []
    assert loads[worker].overdue


def test_a_worker_that_ends_a_task_is_not_overdue(entries, worker) -> None:
    loads = Loads()
    for entry in entries:
        loads.add(worker, entry, 0.0)
    loads.moved(worker, OVERDUE_SECONDS)

    assert loads.overdue(OVERDUE_SECONDS * 1.5) == []


def test_a_single_task_is_never_overdue(entries, worker) -> None:
    loads = Loads()
    loads.add(worker, entries[0], 0.0)

    assert loads.overdue(1000.0) == []
