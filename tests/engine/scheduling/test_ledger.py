"""Each arrow writes exactly one guarded change, and announces exactly what became true."""

import pytest

from engine.errors import IllegalTransitionError
from engine.events import events as ev
from engine.scheduling.entry import Entry
from engine.scheduling.ledger import Ledger, Tally
from engine.tasks.model import AttemptResult, Cause, State
from engine.testing import FakeClock
from engine.workers.protocol import Work


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(FakeClock(), next_key=7, next_lease=3)


@pytest.fixture
def entry(ledger, task) -> Entry:
    clock = ledger.clock
    made = Entry(
        key=ledger.new_key(), task=task("a", max_retries=2), digest="d", generation=1, state=State.QUEUED,
        created_at=clock.time(), priority=200.0, retries_left=2,
    )  # fmt: skip
    ledger.adopt(made, restored=False)
    ledger.outbox.events.clear()
    return made


def lease(ledger, entry, worker) -> None:
    ledger.lease(entry, worker, Work(entry.key, entry.attempt + 1, ledger.next_lease, entry.id, "shell"))


@pytest.fixture
def worker(make_bench):
    return make_bench(workers=1).lender.workers[0]


def names(ledger) -> list[type]:
    return [type(event) for event in ledger.outbox.events]


def test_keys_and_leases_go_on_from_where_the_folder_stood(ledger, entry, worker) -> None:
    assert entry.key == 7
    assert ledger.new_key() == 8

    lease(ledger, entry, worker)

    assert (entry.lease, ledger.next_lease) == (3, 4)


def test_a_lease_is_guarded_by_the_attempt_before_and_gives_the_next(ledger, entry, worker) -> None:
    lease(ledger, entry, worker)

    (change,) = ledger.outbox.batch.changes
    assert (change.attempt, change.next_attempt, change.sources) == (0, 1, (State.QUEUED,))
    assert ledger.outbox.gives[worker][0].attempt == 1
    assert (ledger.active, names(ledger)) == (1, [ev.TaskLeased])


def test_running_is_announced_and_not_written(ledger, entry, worker) -> None:
    lease(ledger, entry, worker)
    ledger.start(entry, worker, 5.0)

    assert entry.state is State.RUNNING
    assert len(ledger.outbox.batch.changes) == 1
    assert ledger.outbox.events[-1].time == 5.0


def test_taking_back_undoes_the_attempt(ledger, entry, worker) -> None:
    lease(ledger, entry, worker)
    ledger.let_go(entry)
    ledger.take_back(entry, "paused")

    change = ledger.outbox.batch.changes[-1]
    assert (change.attempt, change.next_attempt, entry.attempt) == (1, 0, 0)
    assert (ledger.active, names(ledger)[-1]) == (0, ev.TaskRecalled)


def test_a_back_off_carries_the_result_and_when_it_ends(ledger, entry, worker) -> None:
    lease(ledger, entry, worker)
    ledger.let_go(entry)
    result = AttemptResult(key=entry.key, attempt=1, outcome="timed_out", error="slow")
    ledger.back_off(entry, result, 4.0)

    change, event = ledger.outbox.batch.changes[-1], ledger.outbox.events[-1]
    assert (change.result, change.retries_left, change.retry_at) == (result, 1, ledger.clock.time() + 4.0)
    assert (event.outcome, event.delay_s, event.retries_left) == ("timed_out", 4.0, 1)


def test_settling_tells_how_long_the_task_waited(ledger, entry, worker) -> None:
    ledger.queue(entry)
    lease(ledger, entry, worker)
    ledger.let_go(entry)
    started = ledger.clock.time() + 2.5
    ledger.settle(
        entry, State.SUCCEEDED, result=AttemptResult(key=entry.key, attempt=1, outcome="succeeded", started_at=started)
    )

    assert ledger.outbox.events[-1].wait_s == pytest.approx(2.5)
    assert ledger.tally.succeeded == 1


def test_a_refused_arrow_leaves_no_trace(ledger, entry) -> None:
    with pytest.raises(IllegalTransitionError):
        ledger.settle(entry, State.FAILED)

    assert not ledger.outbox
    assert entry.state is State.QUEUED


def test_held_tasks_are_counted_until_released(ledger, entry) -> None:
    ledger.hold(entry, Cause.USER, by_user=True)
    assert (ledger.held, ledger.outbox.batch.changes[-1].by_user) == (1, True)

    ledger.release(entry)

    assert (ledger.held, entry.state) == (0, State.PENDING)


@pytest.mark.parametrize(
    ("state", "cause", "counted"),
    [
        (State.SKIPPED, Cause.DEPENDENCY_FAILED, "skipped"),
        (State.SKIPPED, Cause.RUN_IF_UNMET, "not_needed"),
        (State.SKIPPED, Cause.DONE_IN_FILE, "not_needed"),
        (State.TIMED_OUT, "", "timed_out"),
        (State.CANCELLED, Cause.USER, "cancelled"),
    ],
)
def test_each_end_is_counted_once_and_in_its_place(entry, state, cause, counted) -> None:
    tally = Tally()
    entry.state, entry.cause = state, cause

    tally.count(entry, 1.0, cached=False)

    names = ("succeeded", "failed", "timed_out", "cancelled", "skipped", "not_needed")
    assert {name: getattr(tally, name) for name in names if getattr(tally, name)} == {counted: 1}
