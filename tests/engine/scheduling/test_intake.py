import pytest

from engine.events import events as ev
from engine.scheduling import intake
from engine.storage.task_store import Stored
from engine.tasks.model import Cause, State


def finish(bench, task_id: str, outcome: str = "succeeded") -> None:
    bench.dispatch()
    bench.end(task_id, outcome)


def test_a_new_task_is_accepted_and_a_repeated_one_stays_done(bench, task) -> None:
    assert bench.submit(task("a")).accepted == ["a"]
    finish(bench, "a")

    again = bench.submit(task("a"))

    assert (again.already_done, again.accepted) == (["a"], [])
    assert bench.scheduler.ledger.tally.already_done == 1
    assert bench.entry("a").generation == 1


def test_rerun_and_changed_content_get_a_new_generation(bench, task) -> None:
    bench.submit(task("a"))
    finish(bench, "a")

    assert bench.submit(task("a"), rerun=True).accepted == ["a"]
    finish(bench, "a")
    assert bench.submit(task("a", command=("false",))).accepted == ["a"]

    assert bench.entry("a").generation == 3
    assert bench.state("a") == "queued"


@pytest.mark.parametrize("outcome", ["failed", "timed_out"])
def test_what_did_not_succeed_runs_again(bench, task, outcome) -> None:
    bench.submit(task("a"), task("b", dependencies=("a",)))
    finish(bench, "a", outcome)
    assert bench.state("b") == "skipped"

    assert bench.submit(task("a"), task("b", dependencies=("a",))).accepted == ["a", "b"]

    finish(bench, "a")
    assert list(bench.dispatch()) == ["b"]


def test_an_open_task_stays_where_it_is(bench, task) -> None:
    bench.submit(task("a"))
    outcome = bench.submit(task("a"))

    assert outcome.already_open == ["a"]
    assert len(bench.scheduler.ledger.entries) == 1


def test_a_waiting_task_with_new_content_is_replaced_and_its_dependants_wait_for_the_new_one(bench, task) -> None:
    bench.submit(task("a"), task("b", dependencies=("a",)))
    bench.submit(task("a", command=("false",)))

    assert bench.state("b") == "pending"
    assert bench.scheduler.ledger.tally.cancelled == 0
    finish(bench, "a")
    assert bench.state("b") == "queued"


def test_a_running_task_with_new_content_is_refused_with_the_reason(bench, task) -> None:
    bench.submit(task("a"))
    bench.dispatch()

    outcome = bench.submit(task("a", command=("false",)))

    assert "runs now" in outcome.refused["a"]
    assert bench.state("a") == "leased"


def test_done_in_the_file_is_not_needed_and_satisfies_dependencies(bench, task) -> None:
    outcome = bench.submit(task("a", status="done"), task("b", dependencies=("a",)))

    assert outcome.not_needed == ["a"]
    assert bench.dispatch() == {"b": "w1"}
    assert bench.submit(task("a", status="done")).not_needed == ["a"]
    assert bench.entry("a").generation == 1


def test_an_open_task_that_the_file_now_calls_done_is_skipped(bench, task) -> None:
    bench.submit(task("a"), task("b", dependencies=("a",)))
    bench.submit(task("a", status="done"))

    assert (bench.state("a"), bench.entry("a").cause) == ("skipped", Cause.DONE_IN_FILE)
    assert bench.state("b") == "queued"


def test_a_creation_time_in_the_future_is_taken_as_now(bench, task) -> None:
    bench.submit(task("a", created_at=bench.clock.time() + 1e6), task("b", created_at=bench.clock.time() - 60))

    assert bench.entry("a").created_at == bench.clock.time()
    assert bench.entry("b").created_at == bench.clock.time() - 60


def test_retry_takes_along_what_was_skipped_because_of_it(bench, task) -> None:
    bench.submit(task("a"), task("b", dependencies=("a",)), task("c", dependencies=("b",)), task("other"))
    finish(bench, "a", "failed")
    bench.end("other", "failed")

    ids = intake.retry(bench.scheduler, [bench.entry("a")])

    assert sorted(ids) == ["a", "b", "c"]
    assert (bench.state("a"), bench.state("b"), bench.state("other")) == ("queued", "pending", "failed")
    assert {entry.id for entry in intake.retryable(bench.scheduler)} == {"other"}


def test_retry_of_an_open_task_does_nothing(bench, task) -> None:
    bench.submit(task("a"))

    assert intake.retry(bench.scheduler, [bench.entry("a")]) == []


def stored(task, key: int, state: State, **fields) -> Stored:
    values = {
        "key": key, "task": task, "digest": task.digest(), "generation": 1, "state": state, "cause": "", "attempt": 1,
        "priority": 200.0, "manual": 0.0, "created_at": 1.0, "retries_left": 0, "crashes": 0, "retry_at": None, "lease": 5,
        "worker": "w1.1", "finished_at": None, "duration": 0.0, "exit_code": None, "error": "", "cached": False, "lines": 0,
        "tokens": None, "value": None, **fields,
    }  # fmt: skip
    return Stored(**values)


def restore(bench, *rows, begun: bool = True, on_interrupted="hold") -> list[str]:
    return intake.restore(bench.scheduler, rows, lambda row: begun, on_interrupted)


def test_what_was_running_is_held_and_said(bench, task) -> None:
    assert restore(bench, stored(task("a"), 1, State.LEASED)) == ["a"]

    assert (bench.state("a"), bench.entry("a").cause) == ("held", Cause.INTERRUPTED)
    assert bench.scheduler.ledger.held == 1
    assert bench.named(ev.TaskHeld) == ["a"]
    assert bench.dispatch() == {}


def test_what_had_not_begun_goes_back_to_the_queue_without_an_attempt(bench, task) -> None:
    assert restore(bench, stored(task("a"), 1, State.LEASED), begun=False) == []

    assert bench.entry("a").attempt == 0
    assert bench.dispatch() == {"a": "w1"}


@pytest.mark.parametrize(
    ("fields", "on_interrupted", "expected"),
    [
        ({"idempotent": True}, "hold", "queued"),
        ({}, "requeue", "queued"),
        ({"restart": "never"}, "requeue", "held"),
        ({}, "fail", "failed"),
    ],
)
def test_interrupted_tasks_follow_the_setting(bench, task, fields, on_interrupted, expected) -> None:
    restore(bench, stored(task("a", **fields), 1, State.LEASED), on_interrupted=on_interrupted)

    assert bench.state("a") == expected
    assert bench.entry("a").attempt == 1


def test_a_cancel_that_was_under_way_is_completed(bench, task) -> None:
    restore(bench, stored(task("a"), 1, State.CANCELLING))

    assert bench.state("a") == "cancelled"


def test_finished_tasks_come_back_as_they_were_and_open_ones_go_on(bench, task) -> None:
    restore(
        bench,
        stored(task("a"), 1, State.SUCCEEDED, duration=3.5),
        stored(task("b", dependencies=("a",)), 2, State.PENDING, attempt=0),
        stored(task("c"), 3, State.HELD, cause=Cause.USER, attempt=0),
    )

    assert bench.dispatch() == {"b": "w1"}
    assert bench.scheduler.ledger.held == 1
    added = {event.task_id: event for event in bench.events if isinstance(event, ev.TaskAdded)}
    assert (added["a"].restored, added["a"].duration_s) == (True, 3.5)
    assert bench.scheduler.ledger.tally.succeeded == 0


def test_a_back_off_goes_on_for_what_was_left_of_it(bench, task) -> None:
    now = bench.clock.time()
    restore(
        bench,
        stored(task("a"), 1, State.BACKOFF, retry_at=now + 5),
        stored(task("b"), 2, State.BACKOFF, retry_at=now - 5),
    )

    bench.scheduler.wake()
    assert bench.dispatch() == {"b": "w1"}
    bench.clock.advance(5.1)
    bench.scheduler.wake()
    assert bench.dispatch() == {"a": "w2"}


def test_a_clock_that_jumped_does_not_keep_a_back_off_for_ever(bench, task) -> None:
    restore(bench, stored(task("a"), 1, State.BACKOFF, retry_at=bench.clock.time() + 1e9))

    wake = bench.scheduler.next_wake()
    assert wake is not None
    assert wake - bench.clock.monotonic() <= 330.0


def test_held_in_the_file_waits_until_it_is_released_and_so_does_what_depends_on_it(bench, task) -> None:
    outcome = bench.submit(task("a", status="held"), task("b", dependencies=("a",)))

    assert outcome.accepted == ["a", "b"]
    assert (bench.state("a"), bench.entry("a").cause, bench.state("b")) == ("held", Cause.USER, "pending")
    assert bench.scheduler.idle
    assert bench.submit(task("a", status="held")).already_open == ["a"]

    assert bench.scheduler.release(bench.entry("a"))
    finish(bench, "a")
    finish(bench, "b")
    assert bench.state("b") == "succeeded"


def test_a_held_task_that_the_file_now_calls_open_runs(bench, task) -> None:
    bench.submit(task("a", status="held"))

    assert bench.submit(task("a")).accepted == ["a"]
    assert bench.state("a") == "queued"
    assert bench.scheduler.ledger.held == 0
