import pytest

from engine.caching.keys import CacheKey
from engine.errors import IllegalTransitionError
from engine.events import events as ev
from engine.scheduling.loads import OVERDUE_SECONDS
from engine.tasks.model import AttemptResult, Cause, State
from engine.workers.protocol import Work


def test_the_best_scored_tasks_get_the_workers_first(bench, task) -> None:
    bench.submit(task("low", priority=100), task("high", priority=300), task("mid", priority=200))

    assert bench.dispatch() == {"high": "w1", "mid": "w2"}
    assert bench.state("low") == "queued"


def test_with_fifo_the_order_is_that_of_the_file(make_bench, task) -> None:
    bench = make_bench(workers=1, fifo=True)
    bench.submit(task("low", priority=100), task("high", priority=400))

    assert bench.dispatch() == {"low": "w1"}


def test_a_lease_counts_the_attempt_in_the_same_change_and_names_the_host(bench, task) -> None:
    bench.submit(task("a"))
    bench.dispatch()

    lease = bench.changes[-1]
    assert (lease.attempt, lease.next_attempt, lease.target, lease.worker) == (0, 1, State.LEASED, "w1.1")
    assert lease.lease == 1


def test_a_dependant_waits_until_its_dependency_has_succeeded(bench, task) -> None:
    bench.submit(task("b", dependencies=("a",)), task("a"))
    assert bench.dispatch() == {"a": "w1"}
    assert bench.state("b") == "pending"

    bench.end("a")

    assert bench.dispatch() == {"b": "w2"}


def test_a_failure_skips_the_whole_chain_without_recursion(bench, task) -> None:
    chain = [task("t0")] + [task(f"t{n}", dependencies=(f"t{n - 1}",)) for n in range(1, 5000)]
    bench.submit(*chain)
    bench.dispatch()

    bench.end("t0", "failed", error="exit 1")

    assert bench.state("t4999") == "skipped"
    assert bench.scheduler.ledger.tally.skipped == 4999
    assert bench.entry("t4999").cause == Cause.DEPENDENCY_FAILED
    assert bench.scheduler.idle


def test_a_clean_up_runs_only_after_a_failure(bench, task) -> None:
    bench.submit(task("a"), task("clean", dependencies=("a",), run_if="failure"))
    bench.dispatch()
    bench.end("a")

    assert (bench.state("clean"), bench.entry("clean").cause) == ("skipped", Cause.RUN_IF_UNMET)
    assert bench.scheduler.ledger.tally.not_needed == 1


def test_a_category_limit_holds_and_frees(make_bench, task) -> None:
    bench = make_bench(workers=3, limits={"build": 1})
    bench.submit(task("b1", category="build"), task("b2", category="build"), task("other"))
    assert bench.dispatch() == {"b1": "w1", "other": "w2"}

    bench.end("b1")

    assert list(bench.dispatch()) == ["b2"]


def test_a_failed_attempt_with_retries_waits_outside_the_slot_and_comes_back(make_bench, task) -> None:
    bench = make_bench(workers=1)
    bench.submit(task("a", max_retries=1), task("b"))
    bench.dispatch()
    bench.end("a", "failed", error="exit 1")

    assert bench.state("a") == "backoff"
    assert bench.dispatch() == {"b": "w1"}
    bench.end("b")
    assert not bench.scheduler.idle

    bench.clock.advance(1.2)
    bench.scheduler.wake()
    assert bench.dispatch() == {"a": "w1"}
    assert bench.entry("a").attempt == 2

    bench.end("a", "failed")
    assert bench.state("a") == "failed"
    assert bench.scheduler.idle


def test_a_second_result_of_an_attempt_is_ignored_and_counted(bench, task) -> None:
    bench.submit(task("a"))
    bench.dispatch()
    worker = bench.entry("a").worker
    bench.end("a")

    late = AttemptResult(key=bench.entry("a").key, attempt=1, outcome="failed")
    bench.scheduler.ended(worker, late)

    assert bench.state("a") == "succeeded"
    assert bench.scheduler.ledger.late_results == 1
    assert bench.named(ev.LateResultIgnored) == ["a"]


def test_a_result_of_an_earlier_attempt_is_ignored(bench, task) -> None:
    bench.submit(task("a", max_retries=1))
    bench.dispatch()
    worker = bench.entry("a").worker
    bench.end("a", "failed")
    bench.clock.advance(2)
    bench.scheduler.wake()
    bench.dispatch()

    bench.scheduler.ended(worker, AttemptResult(key=bench.entry("a").key, attempt=1, outcome="succeeded"))

    assert bench.state("a") == "leased"


def lose(bench, task_id, *, begun: bool, planned: bool = False) -> None:
    entry = bench.entry(task_id)
    work = (Work(entry.key, entry.attempt, entry.lease, task_id, "shell"),)
    worker = entry.worker
    bench.scheduler.lost(worker, work if begun else (), () if begun else work, "SIGKILL", planned=planned)
    bench.lender.free.append(worker)


def test_a_task_whose_worker_died_runs_again_until_the_crash_limit(make_bench, task) -> None:
    bench = make_bench(workers=1, crash_limit=3)
    bench.submit(task("a"))
    for _ in range(3):
        assert bench.dispatch() == {"a": "w1"}
        lose(bench, "a", begun=True)

    assert (bench.state("a"), bench.entry("a").cause) == ("failed", Cause.WORKER_LOST)
    assert "lost 3 times (SIGKILL)" in bench.entry("a").error
    assert bench.entry("a").attempt == 3


def test_a_planned_stop_is_no_crash(make_bench, task) -> None:
    bench = make_bench(workers=1, crash_limit=1)
    bench.submit(task("a"))
    bench.dispatch()
    lose(bench, "a", begun=True, planned=True)

    assert bench.state("a") == "queued"


def test_restart_never_forbids_a_second_start(bench, task) -> None:
    bench.submit(task("a", restart="never"))
    bench.dispatch()
    lose(bench, "a", begun=True)

    assert bench.state("a") == "failed"


def test_work_that_had_not_begun_is_no_attempt(bench, task) -> None:
    bench.submit(task("a", restart="never"))
    bench.dispatch()
    lose(bench, "a", begun=False)

    assert (bench.state("a"), bench.entry("a").attempt, bench.entry("a").crashes) == ("queued", 0, 0)
    assert bench.dispatch() == {"a": "w2"}


def test_a_waiting_task_is_cancelled_at_once_and_a_running_one_when_it_has_ended(bench, task) -> None:
    bench.submit(task("a"), task("b"), task("c"))
    bench.dispatch()
    a, c = bench.entry("a"), bench.entry("c")
    assert bench.scheduler.cancel(c)
    assert bench.scheduler.cancel(a)
    assert (bench.state("c"), bench.state("a")) == ("cancelled", "cancelling")
    assert bench.flush().cancels == [(a.worker, a.key, False)]

    bench.end("a", "cancelled")

    assert bench.state("a") == "cancelled"
    assert not bench.scheduler.cancel(a)


def test_a_result_that_came_before_the_cancel_wins(bench, task) -> None:
    bench.submit(task("a", max_retries=5))
    bench.dispatch()
    bench.scheduler.cancel(bench.entry("a"))

    bench.end("a", "succeeded")

    assert bench.state("a") == "succeeded"


def test_hold_and_release(bench, task) -> None:
    bench.submit(task("a"), task("b", dependencies=("a",)))
    assert bench.scheduler.hold(bench.entry("a"))
    assert bench.scheduler.hold(bench.entry("b"))
    assert bench.dispatch() == {}
    assert (bench.scheduler.ledger.held, bench.scheduler.idle) == (2, True)

    assert bench.scheduler.release(bench.entry("a"))
    assert bench.scheduler.release(bench.entry("b"))

    assert bench.dispatch() == {"a": "w1"}
    assert bench.state("b") == "pending"
    assert bench.scheduler.ledger.held == 0


def test_paused_starts_nothing_and_asks_back_what_has_not_begun(bench, task) -> None:
    bench.submit(task("a"), task("b"), task("c"))
    bench.dispatch()
    a, b = bench.entry("a"), bench.entry("b")
    bench.scheduler.started(a.worker, a.key, 1, bench.clock.time())

    bench.scheduler.pause()

    assert bench.flush().recalls == {b.worker: [b.key]}
    worker = b.worker
    bench.scheduler.recalled(worker, [b.key])
    bench.lender.free.append(worker)
    assert (bench.state("b"), b.attempt) == ("queued", 0)
    assert bench.dispatch() == {}
    bench.scheduler.resume()
    assert bench.dispatch() == {"b": "w2"}


def test_a_paused_category_lets_the_others_go_on(bench, task) -> None:
    bench.submit(task("a", category="docs", priority=400), task("b"))
    bench.scheduler.pause("docs")

    assert bench.dispatch() == {"b": "w1"}
    bench.scheduler.resume("docs")
    assert bench.dispatch() == {"a": "w2"}


def test_nothing_starts_while_the_storage_is_in_trouble(bench, task) -> None:
    bench.submit(task("a"))
    bench.scheduler.trouble = "the disk is full"
    assert bench.dispatch() == {}

    bench.scheduler.trouble = ""

    assert bench.dispatch() == {"a": "w1"}


def test_quick_tasks_are_prefetched_and_slow_ones_are_not(make_bench, task) -> None:
    bench = make_bench(workers=1)
    bench.submit(*(task(f"t{n}") for n in range(20)))
    assert len(bench.dispatch()) == 1
    bench.end("t0", duration=0.004)

    assert len(bench.dispatch()) == 10

    slow = make_bench(workers=1)
    slow.submit(*(task(f"t{n}") for n in range(20)))
    slow.dispatch()
    slow.end("t0", duration=0.5)
    assert len(slow.dispatch()) == 1


def test_what_waits_behind_a_task_that_takes_too_long_is_asked_back_once(make_bench, task) -> None:
    bench = make_bench(workers=1)
    bench.submit(*(task(f"t{n}") for n in range(4)))
    bench.dispatch()
    bench.end("t0", duration=0.001)
    held = list(bench.dispatch())
    assert len(held) > 1
    bench.clock.advance(OVERDUE_SECONDS + 0.01)

    bench.scheduler.recall_overdue()
    bench.scheduler.recall_overdue()

    (recalled,) = bench.flush().recalls.values()
    assert recalled == [bench.entry(task_id).key for task_id in held[1:]]
    bench.scheduler.recalled(bench.entry(held[0]).worker, recalled)
    assert bench.dispatch() == {}, "the same worker must not get them again"


def test_a_task_that_must_not_run_twice_is_never_prefetched(make_bench, task) -> None:
    bench = make_bench(workers=1)
    bench.submit(*(task(f"t{n}", restart="never") for n in range(9)))
    bench.dispatch()
    bench.end("t0", duration=0.0001)

    assert len(bench.dispatch()) == 1


def test_a_cacheable_task_asks_the_cache_first(bench, task) -> None:
    bench.submit(task("a", cache=True))
    (asked,) = bench.scheduler.dispatch(bench.lender)
    assert bench.scheduler.idle is False

    bench.scheduler.cache_hit(asked, AttemptResult(key=0, attempt=0, outcome="succeeded", value=7))

    assert bench.state("a") == "succeeded"
    assert (bench.scheduler.ledger.tally.cached, bench.scheduler.ledger.tally.succeeded) == (1, 1)
    (finished,) = [event for event in bench.flush().events if isinstance(event, ev.TaskFinished)]
    assert (finished.cached, finished.value) == (True, 7)


def test_a_miss_lets_the_task_run_and_it_does_not_ask_twice(bench, task) -> None:
    bench.submit(task("a", cache=True))
    (asked,) = bench.scheduler.dispatch(bench.lender)
    bench.scheduler.cache_missed(asked, CacheKey("key", "inputs"))

    assert bench.scheduler.dispatch(bench.lender) == []
    assert bench.state("a") == "leased"


def test_an_answer_of_the_cache_after_a_cancel_changes_nothing(bench, task) -> None:
    bench.submit(task("a", cache=True))
    (asked,) = bench.scheduler.dispatch(bench.lender)
    bench.scheduler.cancel(asked)

    bench.scheduler.cache_hit(asked, AttemptResult(key=0, attempt=0, outcome="succeeded"))

    assert bench.state("a") == "cancelled"
    assert bench.scheduler.idle


def test_not_before_keeps_a_task_pending_until_its_time(bench, task) -> None:
    bench.submit(task("a", not_before=bench.clock.time() + 60))
    assert bench.dispatch() == {}
    assert (bench.state("a"), bench.scheduler.idle) == ("pending", False)
    assert bench.scheduler.next_wake() == pytest.approx(bench.clock.monotonic() + 60)

    bench.clock.advance(60.5)
    bench.scheduler.wake()

    assert bench.dispatch() == {"a": "w1"}


def test_the_events_of_a_task_come_in_the_order_of_its_life(bench, task) -> None:
    bench.submit(task("a"))
    bench.dispatch()
    bench.end("a")
    bench.flush()

    assert [type(event) for event in bench.events] == [
        ev.TaskAdded, ev.TaskQueued, ev.TaskLeased, ev.TaskStarted, ev.TaskFinished,
    ]  # fmt: skip


def test_an_arrow_that_does_not_exist_raises(bench, task) -> None:
    bench.submit(task("a"))
    entry = bench.entry("a")
    bench.scheduler.cancel(entry)

    with pytest.raises(IllegalTransitionError):
        bench.scheduler._settle(entry, State.SUCCEEDED)


def test_draining_is_idle_once_nothing_runs(bench, task) -> None:
    bench.submit(task("a"), task("b"), task("c"))
    bench.dispatch()
    bench.scheduler.draining = True
    assert not bench.scheduler.idle

    bench.end("a")
    bench.end("b")

    assert bench.dispatch() == {}
    assert bench.scheduler.idle
    assert bench.state("c") == "queued"


@pytest.fixture
def twins(make_bench, task):
    """Two identical cacheable tasks, of which the first runs."""
    bench = make_bench(workers=2)
    bench.submit(task("first", cache=True), task("second", cache=True))
    for asked in bench.scheduler.dispatch(bench.lender):
        bench.scheduler.cache_missed(asked, CacheKey("same", "inputs"))
    assert list(bench.dispatch()) == ["first"]
    return bench


def test_an_identical_task_waits_for_the_one_under_way_and_uses_its_result(twins) -> None:
    assert twins.state("second") == "queued"
    assert not twins.scheduler.idle

    twins.end("first")
    (asked,) = twins.scheduler.dispatch(twins.lender)
    twins.scheduler.cache_hit(asked, AttemptResult(key=0, attempt=0, outcome="succeeded"))

    assert (twins.state("second"), twins.scheduler.ledger.tally.cached) == ("succeeded", 1)
    assert twins.scheduler.idle


def test_a_follower_runs_itself_when_its_leader_failed(twins) -> None:
    twins.end("first", "failed")
    (asked,) = twins.scheduler.dispatch(twins.lender)
    twins.scheduler.cache_missed(asked, CacheKey("same", "inputs"))

    assert list(twins.dispatch()) == ["second"]


def test_a_follower_that_is_cancelled_or_held_leaves_the_others_alone(twins) -> None:
    twins.scheduler.hold(twins.entry("second"))
    twins.end("first")
    assert twins.dispatch() == {}

    twins.scheduler.release(twins.entry("second"))
    (asked,) = twins.scheduler.dispatch(twins.lender)
    assert asked.id == "second"


def test_a_cancelled_leader_lets_its_followers_go_on(twins) -> None:
    first = twins.entry("first")
    twins.scheduler.cancel(first)
    twins.end("first", "cancelled")

    (asked,) = twins.scheduler.dispatch(twins.lender)
    assert asked.id == "second"
