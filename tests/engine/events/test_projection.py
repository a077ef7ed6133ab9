"""The projection tells the truth about every task, in counts as in rows, and a client's copy of it is the same."""

from __future__ import annotations

import random

import msgspec
import pytest

from engine.events import events as ev
from engine.events.projection import MAX_ROWS, Frame, Projection, empty_counts
from engine.session.protocol import View
from engine.tasks.model import OutputSummary, Tokens
from engine.testing import life_of, make_added, make_task, run_of

COUNT_FLAGS = {"total", "cached", "already_done", "not_needed"}


def projection_of(*events):
    projection = Projection()
    projection.apply(stamped(events))
    return projection


def stamped(events, start=1):
    for seq, event in enumerate(events, start=start):
        msgspec.structs.force_setattr(event, "seq", seq)
        msgspec.structs.force_setattr(event, "time", 1000.0 + seq)
    return events


def about(key=1, task_id="a", **fields):
    return {"task_id": task_id, "key": key, **fields}


def nonzero(projection):
    return {name: count for name, count in projection.counts.items() if count}


def recount(projection):
    """What the counts should be, by looking at every row."""
    counts = empty_counts()
    for row in projection.rows.values():
        counts["total"] += 1
        counts[row.state] += 1
        if row.already_done:
            counts["already_done"] += 1
        elif row.cached and row.state == "succeeded":
            counts["cached"] += 1
        elif row.state == "skipped" and row.cause in {"done_in_file", "run_if_unmet"}:
            counts["not_needed"] += 1
    return counts


def over_the_wire(frame):
    return msgspec.msgpack.decode(msgspec.msgpack.encode(frame), type=Frame)


class TestOneTask:
    def test_its_whole_life(self):
        projection = Projection()
        states = []
        for event in stamped(life_of(1, "a", worker="w2")):
            projection.apply([event])
            states.append(projection.row("a").state)
        assert states == ["queued", "queued", "leased", "running", "succeeded"]
        row = projection.row("a")
        assert (row.worker, row.attempt, row.started_at, row.finished_at) == ("w2", 1, 1004.0, 1005.0)
        assert (row.duration_s, row.exit_code, row.ready_at) == (1.0, 0, 1002.0)
        assert nonzero(projection) == {"succeeded": 1, "total": 1}
        assert projection.seq == 5

    def test_a_task_whose_start_was_left_out_began_when_its_duration_says(self):
        events = [event for event in life_of(1, "a") if not isinstance(event, ev.TaskStarted)]
        row = projection_of(*events).row("a")
        assert row.started_at == row.finished_at - 1.0

    def test_retry_shows_when_it_goes_on_and_what_went_wrong(self):
        projection = projection_of(
            *life_of(1, "a")[:4],
            ev.TaskRetryScheduled(**about(attempt=1, delay_s=10.0, retries_left=2, error="exit 1", duration_s=3.0)),
        )
        row = projection.row("a")
        assert (row.state, row.retry_at, row.retries_left, row.error, row.worker) == (
            "backoff",
            1015.0,
            2,
            "exit 1",
            "",
        )
        projection.apply([ev.TaskQueued(**about(score=1.0, score_base=7.0))])
        assert (row.state, row.retry_at, row.score_base) == ("queued", None, 7.0)

    def test_a_new_task_may_retry_as_often_as_it_allows(self):
        assert projection_of(make_added(1, make_task("a"))).row("a").retries_left == 3
        assert projection_of(make_added(1, make_task("a"), retries_left=1)).row("a").retries_left == 1

    @pytest.mark.parametrize(
        ("event", "state", "cause"),
        [
            (ev.TaskHeld(**about(cause="user")), "held", "user"),
            (ev.TaskRecalled(**about()), "queued", ""),
            (ev.TaskRequeued(**about(attempt=1, crashes=1, error="worker lost")), "queued", ""),
            (ev.TaskCancelRequested(**about()), "cancelling", ""),
        ],
    )
    def test_what_can_happen_to_a_running_task(self, event, state, cause):
        row = projection_of(*life_of(1, "a")[:4], event).row("a")
        assert (row.state, row.cause) == (state, cause)

    def test_an_attempt_that_was_taken_back_never_was(self):
        row = projection_of(*life_of(1, "a")[:3], ev.TaskRecalled(**about())).row("a")
        assert (row.attempt, row.worker) == (0, "")

    def test_release(self):
        row = projection_of(
            make_added(1, "a", state="held", cause="interrupted"), ev.TaskReleased(**about(state="queued"))
        ).row("a")
        assert (row.state, row.cause, row.ready_at) == ("queued", "", 1002.0)

    def test_reprioritise(self):
        change = ev.TaskReprioritised(**about(priority=400.0, manual=3.0, score_base=403.0, score=999.0))
        row = projection_of(make_added(1, "a"), change).row("a")
        assert (row.priority, row.manual, row.score_base) == (400.0, 3.0, 403.0)

    def test_output_of_the_present_attempt_only(self):
        summary = OutputSummary(lines=12, bytes=99, progress="12/40", last_line="building")
        projection = projection_of(
            *life_of(1, "a")[:4], ev.OutputSummarised(**about(worker="w1", attempt=1, summary=summary))
        )
        row = projection.row("a")
        assert (row.lines, row.bytes, row.progress, row.last_line) == (12, 99, "12/40", "building")
        projection.apply([ev.OutputSummarised(**about(worker="w1", attempt=0, summary=OutputSummary(lines=5)))])
        assert row.lines == 12

    def test_a_new_attempt_starts_with_a_clean_row(self):
        summary = OutputSummary(lines=12, last_line="failed here")
        row = projection_of(
            *life_of(1, "a")[:4],
            ev.OutputSummarised(**about(worker="w1", attempt=1, summary=summary)),
            ev.TaskRetryScheduled(**about(attempt=1, delay_s=0.0, retries_left=0, error="exit 1")),
            ev.TaskLeased(**about(worker="w1", attempt=2)),
            ev.TaskStarted(**about(worker="w1", attempt=2)),
        ).row("a")
        assert (row.lines, row.last_line, row.error, row.attempt) == (0, "", "", 2)

    def test_tokens_and_cost(self):
        end = ev.TaskFinished(
            **about(state="succeeded", tokens=Tokens(input=5, output=2), cost_usd=0.25, lines=3, warm=True)
        )
        row = projection_of(make_added(1, "a"), end).row("a")
        assert (row.tokens.total, row.cost_usd, row.lines, row.warm) == (7, 0.25, 3, True)

    def test_events_about_unknown_rows_are_ignored(self):
        projection = projection_of(
            ev.TaskStarted(**about(key=99, worker="w1", attempt=1)), ev.LateResultIgnored(**about(attempt=1))
        )
        assert projection.rows == {}
        assert projection.row("a") is None
        assert projection.seq == 2

    def test_a_very_long_title_is_cut(self):
        assert len(projection_of(make_added(1, make_task("a", title="x" * 100_000))).row("a").title) == 500


class TestCounts:
    def test_names(self):
        assert set(empty_counts()) >= COUNT_FLAGS | {"pending", "timed_out", "cancelling"}
        assert len(empty_counts()) == 16

    def test_what_had_succeeded_before_is_counted_as_already_done_not_as_cached(self):
        projection = projection_of(make_added(1, "a", state="succeeded", restored=True, cached=True))
        assert nonzero(projection) == {"succeeded": 1, "already_done": 1, "total": 1}

    def test_what_had_failed_before_is_not_done(self):
        projection = projection_of(make_added(1, "a", state="failed", restored=True, error="exit 2", exit_code=2))
        assert nonzero(projection) == {"failed": 1, "total": 1}
        assert projection.row("a").error == "exit 2"

    def test_cached(self):
        projection = projection_of(make_added(1, "a"), ev.TaskFinished(**about(state="succeeded", cached=True)))
        assert nonzero(projection) == {"succeeded": 1, "cached": 1, "total": 1}

    @pytest.mark.parametrize("cause", ["done_in_file", "run_if_unmet"])
    def test_not_needed(self, cause):
        projection = projection_of(make_added(1, "a", state="skipped", cause=cause))
        assert nonzero(projection) == {"skipped": 1, "not_needed": 1, "total": 1}

    def test_skipped_because_a_dependency_failed_is_not_not_needed(self):
        projection = projection_of(
            make_added(1, "a"), ev.TaskFinished(**about(state="skipped", cause="dependency_failed"))
        )
        assert nonzero(projection) == {"skipped": 1, "total": 1}

    def test_they_stay_exact_whatever_happens_in_whatever_order(self):
        chance = random.Random(11)
        projection, key_of, next_key = Projection(), {}, 1
        for _ in range(5000):
            task_id = f"t{chance.randrange(40)}"
            if task_id not in key_of or chance.random() < 0.05:
                key_of[task_id], next_key = next_key, next_key + 1
                projection.apply([_random_added(chance, key_of[task_id], task_id)])
            else:
                projection.apply([_random_event(chance, chance.choice([key_of[task_id], 1]), task_id)])
        assert projection.counts == recount(projection)
        assert len(projection.rows) == len(projection.by_id) == 40


def _random_added(chance, key, task_id):
    state = chance.choice(["pending", "queued", "held", "succeeded", "failed", "skipped"])
    cause = chance.choice(["", "done_in_file", "run_if_unmet"])
    return make_added(
        key, task_id, state=state, cause=cause, restored=chance.random() < 0.5, cached=chance.random() < 0.5
    )


def _random_event(chance, key, task_id):
    base = {"task_id": task_id, "key": key}
    kind = chance.randrange(8)
    if kind == 0:
        return ev.TaskQueued(**base, score=1.0)
    if kind == 1:
        return ev.TaskLeased(**base, worker=f"w{chance.randrange(3)}", attempt=1)
    if kind == 2:
        return ev.TaskStarted(**base, worker=f"w{chance.randrange(3)}", attempt=1)
    if kind == 3:
        return ev.TaskRetryScheduled(**base, attempt=1, delay_s=1.0, retries_left=1)
    if kind == 4:
        return ev.TaskHeld(**base, cause="user")
    if kind == 5:
        return ev.TaskReleased(**base, state=chance.choice(["pending", "queued"]))
    if kind == 6:
        return ev.TaskRequeued(**base, attempt=1, crashes=1)
    state = chance.choice(["succeeded", "failed", "timed_out", "cancelled", "skipped"])
    return ev.TaskFinished(**base, state=state, cached=chance.random() < 0.3, cause=chance.choice(["", "run_if_unmet"]))


class TestGenerations:
    def test_a_new_generation_takes_the_place_of_the_old_one(self):
        projection = projection_of(*life_of(1, "a", state="failed"), make_added(7, "a", generation=2))
        assert list(projection.rows) == [7]
        assert projection.by_id == {"a": 7}
        assert nonzero(projection) == {"queued": 1, "total": 1}

    def test_clients_are_told_which_row_went(self):
        projection = projection_of(*life_of(1, "a", state="failed"), make_added(2, "b"))
        viewer = projection.viewer(View())
        client = Projection()
        client.apply_frame(over_the_wire(viewer.take(0.0)))
        projection.apply([make_added(7, "a", generation=2)])
        frame = over_the_wire(viewer.take(0.0))
        assert (frame.removed, [row.key for row in frame.rows]) == ([1], [7])
        changed = client.apply_frame(frame)
        assert changed.keys == (1, 7)
        assert client.rows == projection.rows
        assert client.by_id == projection.by_id
        assert client.counts == projection.counts

    def test_late_events_of_the_old_generation_change_nothing(self):
        projection = projection_of(
            make_added(1, "a"), make_added(7, "a"), ev.TaskFinished(**about(key=1, state="failed"))
        )
        assert nonzero(projection) == {"queued": 1, "total": 1}

    def test_an_older_generation_that_comes_late_is_not_shown(self):
        projection = projection_of(make_added(7, "a", generation=2), make_added(1, "a"))
        assert list(projection.rows) == [7]

    def test_adding_the_same_row_again_replaces_it(self):
        projection = projection_of(make_added(1, "a"))
        viewer = projection.viewer(View())
        viewer.take(0.0)
        projection.apply([make_added(1, "a", state="held")])
        assert nonzero(projection) == {"held": 1, "total": 1}
        frame = viewer.take(0.0)
        assert (frame.removed, [row.state for row in frame.rows]) == (None, ["held"])

    def test_a_viewer_that_missed_too_many_removals_starts_afresh(self):
        projection = projection_of(make_added(1, "a"))
        viewer = projection.viewer(View())
        viewer.take(0.0)
        for key in range(2, 10_010):
            projection.apply([make_added(key, "a")])
        frame = viewer.take(0.0)
        assert frame.full
        assert [row.key for row in frame.rows] == [10_009]


class TestDependencies:
    def test_waits_for_shrinks_as_dependencies_end(self):
        task = make_task("c", dependencies=("a", "b"))
        projection = projection_of(make_added(1, "a"), make_added(2, "b"), make_added(3, task))
        viewer = projection.viewer(View())
        viewer.take(0.0)
        projection.apply([ev.TaskFinished(**about(key=1, state="succeeded"))])
        frame = viewer.take(0.0)
        assert {row.key for row in frame.rows} == {1, 3}
        row = projection.row("c")
        assert (row.waits_for, row.dependencies, row.state) == (("b",), ("a", "b"), "pending")
        projection.apply(
            [ev.TaskFinished(**about(key=2, task_id="b", state="failed")), ev.TaskQueued(**about(3, "c", score=1.0))]
        )
        assert (row.waits_for, row.state) == ((), "queued")

    def test_refresh_is_enough_without_a_viewer(self):
        projection = projection_of(make_added(1, "a"), make_added(2, make_task("b", dependencies=("a", "x"))))
        projection.apply([ev.TaskFinished(**about(key=1, state="succeeded"))])
        projection.refresh()
        assert projection.row("b").waits_for == ("x",)

    def test_dependencies_that_had_ended_before_are_not_waited_for(self):
        added = make_added(2, make_task("b", dependencies=("a", "x")), waits_for=("x",))
        assert projection_of(added).row("b").waits_for == ("x",)

    def test_a_task_that_ends_while_it_waits_waits_no_more(self):
        projection = projection_of(
            make_added(1, make_task("b", dependencies=("a",))), ev.TaskFinished(**about(1, "b", state="cancelled"))
        )
        assert projection.row("b").waits_for == ()
        viewer = projection.viewer(View())
        viewer.take(0.0)
        projection.apply([make_added(2, "a"), ev.TaskFinished(**about(2, "a", state="succeeded"))])
        assert [row.id for row in viewer.take(0.0).rows] == ["a"]


class TestWorkers:
    def test_a_worker_is_idle_until_it_has_a_task_and_after_it(self):
        projection = projection_of(*run_of("w1"))
        row = projection.workers["w1"]
        assert (row.state, row.pid, row.starts, row.since) == ("idle", 1001, 1, 1002.0)
        projection.apply(stamped(life_of(1, "a")[:4], start=3))
        assert (row.state, row.task_id, row.task_key, row.since) == ("busy", "a", 1, 1005.0)
        summary = OutputSummary(lines=1, tail=("hello",))
        projection.apply([ev.OutputSummarised(**about(worker="w1", attempt=1, summary=summary))])
        assert row.summary.tail == ("hello",)
        projection.apply([ev.TaskFinished(**about(worker="w1", state="succeeded", attempt=1))])
        assert (row.state, row.tasks_run, row.task_id, row.summary.tail) == ("idle", 1, "a", ("hello",))

    def test_with_tasks_prefetched_it_goes_from_one_to_the_next(self):
        events = [make_added(1, "a"), make_added(2, "b"), make_added(3, "c")]
        events += [ev.TaskLeased(task_id=name, key=key, worker="w1", attempt=1) for key, name in enumerate("abc", 1)]
        projection = projection_of(*run_of("w1"), *events)
        row = projection.workers["w1"]
        shown = [row.task_id]
        for key, name in enumerate("abc", 1):
            projection.apply([ev.TaskFinished(task_id=name, key=key, worker="w1", state="succeeded")])
            shown.append((row.state, row.task_id))
        assert shown == ["a", ("busy", "b"), ("busy", "c"), ("idle", "c")]
        assert row.tasks_run == 3

    @pytest.mark.parametrize(
        "end",
        [
            ev.TaskRecalled(**about()),
            ev.TaskRequeued(**about(attempt=1, crashes=1)),
            ev.TaskHeld(**about(cause="user")),
            ev.TaskRetryScheduled(**about(attempt=1, delay_s=1.0, retries_left=1)),
        ],
    )
    def test_it_is_idle_when_its_task_goes_elsewhere(self, end):
        projection = projection_of(*run_of("w1"), *life_of(1, "a")[:3], end)
        assert projection.workers["w1"].state == "idle"
        assert projection.workers["w1"].tasks_run == isinstance(end, ev.TaskRetryScheduled)

    def test_a_task_that_goes_to_another_worker_leaves_the_first(self):
        projection = projection_of(
            *run_of("w1", "w2"), *life_of(1, "a")[:3], ev.TaskLeased(**about(worker="w2", attempt=2))
        )
        assert {name: row.state for name, row in projection.workers.items()} == {"w1": "idle", "w2": "busy"}
        projection.apply([ev.TaskFinished(**about(worker="w2", attempt=2, state="succeeded"))])
        assert {name: row.state for name, row in projection.workers.items()} == {"w1": "idle", "w2": "idle"}
        assert {name: row.tasks_run for name, row in projection.workers.items()} == {"w1": 0, "w2": 1}

    def test_output_of_another_task_is_not_shown_in_its_pane(self):
        projection = projection_of(*run_of("w1"), make_added(2, "b"), *life_of(1, "a")[:4])
        projection.apply([ev.OutputSummarised(**about(2, "b", worker="w1", attempt=0, summary=OutputSummary(lines=9)))])
        assert projection.workers["w1"].summary is None

    def test_a_stopped_worker_stays_visible_with_the_reason(self):
        projection = projection_of(*run_of("w1"), ev.WorkerStopped(worker="w1", pid=1001, planned=True, reason="idle"))
        row = projection.workers["w1"]
        assert (row.state, row.note, row.pid) == ("stopped", "idle", 0)
        projection.apply([ev.WorkerStarted(worker="w1", pid=55)])
        assert (row.state, row.note, row.starts, row.pid) == ("idle", "", 2, 55)

    def test_news_of_an_earlier_process_of_the_slot_is_ignored(self):
        projection = projection_of(*run_of("w1"), ev.WorkerStarted(worker="w1", pid=55))
        projection.apply([ev.WorkerStopped(worker="w1", pid=1001, planned=False)])
        assert projection.workers["w1"].state == "idle"

    def test_a_broken_worker_says_why(self):
        projection = projection_of(*run_of("w1"), ev.WorkerBroken(worker="w1", reason="died 5 times", retry_in_s=8.0))
        assert (projection.workers["w1"].state, projection.workers["w1"].note) == ("broken", "died 5 times")

    def test_slots_that_the_pool_gave_up_go_and_clients_hear_of_it(self):
        projection = projection_of(*run_of("w1", "w2", "w3"))
        viewer, client = projection.viewer(View()), Projection()
        client.apply_frame(over_the_wire(viewer.take(0.0)))
        projection.apply([ev.WorkerStopped(worker="w2", pid=1002, planned=True), ev.PoolResized(size=2)])
        projection.apply([ev.PoolResized(size=1), ev.WorkerStopped(worker="w3", pid=1003, planned=True)])
        assert list(projection.workers) == ["w1"]
        client.apply_frame(over_the_wire(viewer.take(0.0)))
        assert client.workers == projection.workers
        assert client.run.workers == 1

    def test_a_note(self):
        projection = projection_of(*run_of("w1"))
        projection.set_worker_note("w1", "waits for a batch")
        projection.set_worker_note("w9", "nobody")
        assert projection.workers["w1"].note == "waits for a batch"
        assert list(projection.workers) == ["w1"]


class TestRun:
    def test_from_start_to_end(self):
        projection = Projection()
        assert projection.run.state == "starting"
        projection.apply(stamped([*run_of("w1"), *life_of(1, "a")]))
        run = projection.run
        assert (run.state, run.run_id, run.pid, run.workers, run.started_at) == ("running", "run-1", 1000, 1, 1001.0)
        assert (run.first_dispatch_at, run.last_settled_at) == (1005.0, 1007.0)
        projection.apply([ev.RunFinished(succeeded=1, duration_s=2.0)])
        assert run.state == "finished"
        assert (run.finished["succeeded"], run.finished["duration_s"]) == (1, 2.0)
        assert {"seq", "time", "event"}.isdisjoint(run.finished)

    def test_new_work_opens_a_finished_run_again(self):
        projection = projection_of(
            *run_of("w1"), ev.RunFinished(), make_added(1, "a", state="skipped", cause="done_in_file")
        )
        assert projection.run.state == "finished"
        projection.apply([make_added(2, "b")])
        assert (projection.run.state, projection.run.finished) == ("running", None)

    def test_pause_and_resume(self):
        projection = projection_of(*run_of("w1"), ev.QueuePaused(reason="by hand"))
        assert (projection.run.state, projection.run.paused_reason) == ("paused", "by hand")
        projection.apply([ev.QueuePaused(category="docs"), ev.QueuePaused(category="docs"), ev.QueueResumed()])
        assert (projection.run.state, projection.run.paused_categories) == ("running", ("docs",))
        projection.apply([ev.QueueResumed(category="docs")])
        assert projection.run.paused_categories == ()

    def test_draining_wins_over_paused(self):
        projection = projection_of(*run_of("w1"), ev.QueuePaused())
        projection.set_draining()
        assert projection.run.state == "draining"
        projection.set_draining(False)
        assert projection.run.state == "paused"

    def test_trouble_comes_and_goes(self):
        projection = projection_of(*run_of("w1"), ev.StorageTroubled(error="disk full"))
        assert projection.run.trouble == "disk full"
        projection.apply([ev.StorageTroubled(error="")])
        assert projection.run.trouble == ""

    def test_findings(self):
        finding = {"bottleneck_type": "high_failure_rate"}
        assert projection_of(ev.FindingsChanged(findings=(finding,))).findings == [finding]

    def test_repr(self):
        assert repr(projection_of(*run_of("w1"), *life_of(1, "a"))) == "<Projection seq=7, 1 tasks, 1 workers, running>"


class TestViewers:
    def test_the_first_frame_is_full_then_only_changes_come(self):
        projection = projection_of(*run_of("w1"), *life_of(1, "a"), *life_of(2, "b")[:4])
        viewer = projection.viewer(View())
        first = viewer.take(5.0)
        assert (first.full, first.time, first.seq, len(first.rows), len(first.workers)) == (True, 5.0, 11, 2, 1)
        assert viewer.take(6.0) is None
        projection.apply([ev.TaskReprioritised(**about(2, "b", priority=1.0, manual=0.0, score_base=1.0, score=1.0))])
        frame = viewer.take(7.0)
        assert (frame.full, [row.key for row in frame.rows]) == (False, [2])
        assert (frame.counts, frame.workers, frame.run, frame.metrics, frame.findings) == (None,) * 5

    def test_an_empty_projection_has_a_full_frame_too(self):
        frame = Projection().viewer(View()).take(0.0)
        assert (frame.full, frame.rows, frame.counts) == (True, [], empty_counts())

    def test_many_changes_of_a_row_are_one(self):
        projection = projection_of(*life_of(1, "a")[:4])
        viewer = projection.viewer(View())
        viewer.take(0.0)
        for lines in range(500):
            summary = OutputSummary(lines=lines)
            projection.apply([ev.OutputSummarised(**about(worker="w1", attempt=1, summary=summary))])
        assert [row.lines for row in viewer.take(0.0).rows] == [499]

    def test_each_viewer_has_its_own_pace(self):
        projection = projection_of(make_added(1, "a"))
        fast, slow = projection.viewer(View()), projection.viewer(View())
        fast.take(0.0), slow.take(0.0)
        for key in range(2, 5):
            projection.apply([make_added(key, f"t{key}")])
            assert [row.key for row in fast.take(0.0).rows] == [key]
        assert [row.key for row in slow.take(0.0).rows] == [2, 3, 4]

    def test_a_viewer_that_never_takes_costs_nothing(self):
        projection = projection_of(make_added(1, "a"))
        sleepers = [projection.viewer(View()) for _ in range(3)]
        for _ in range(1000):
            projection.apply([ev.TaskReprioritised(**about(priority=1.0, manual=0.0, score_base=1.0, score=1.0))])
        assert len(projection._row_log._changed) == 1
        assert all(len(viewer.take(0.0).rows) == 1 for viewer in sleepers)

    def test_a_view_without_rows_gets_counts_only(self):
        projection = projection_of(make_added(1, "a"))
        viewer = projection.viewer(View(rows=False))
        frame = viewer.take(0.0)
        assert (frame.rows, frame.counts["queued"]) == (None, 1)
        projection.apply([ev.TaskReprioritised(**about(priority=1.0, manual=0.0, score_base=1.0, score=1.0))])
        assert viewer.take(0.0) is None
        viewer.lens = View()
        frame = viewer.take(0.0)
        assert (frame.full, len(frame.rows)) == (True, 1)

    def test_tails_come_only_for_slots_in_the_view(self):
        projection = projection_of(*run_of("w1", "w2"), *life_of(1, "a")[:4])
        summary = OutputSummary(lines=1, last_line="x", tail=("x",))
        projection.apply([ev.OutputSummarised(**about(worker="w1", attempt=1, summary=summary))])
        tails = [
            {
                row.name: row.summary and (row.summary.last_line, row.summary.tail)
                for row in projection.viewer(view).take(0.0).workers
            }
            for view in (View(), View(workers=("w1",)), View(workers=("w2",)), View(workers=()))
        ]
        assert [tail["w1"] for tail in tails] == [("x", ("x",)), ("x", ("x",)), ("x", ()), ("x", ())]
        assert projection.workers["w1"].summary.tail == ("x",)

    @pytest.mark.parametrize("view", [View(workers=("w1",)), View()])
    def test_a_slot_that_comes_into_view_is_sent_with_its_tail(self, view):
        projection = projection_of(*run_of("w1", "w2"), *life_of(1, "a")[:4])
        projection.apply([ev.OutputSummarised(**about(worker="w1", attempt=1, summary=OutputSummary(tail=("x",))))])
        viewer = projection.viewer(View(workers=("w2",)))
        viewer.take(0.0)
        viewer.lens = view
        frame = viewer.take(0.0)
        assert [(row.name, row.summary.tail) for row in frame.workers] == [("w1", ("x",))]
        assert viewer.take(0.0) is None

    def test_equal_marks_stand_for_equal_frames(self):
        projection = projection_of(make_added(1, "a"))
        first, second, other = projection.viewer(View()), projection.viewer(View()), projection.viewer(View(workers=()))
        assert first.mark == second.mark != other.mark
        first.take(0.0)
        assert first.mark != second.mark
        second.catch_up(first)
        assert second.take(0.0) is None
        projection.apply([make_added(2, "b")])
        assert len(second.take(0.0).rows) == 1

    def test_metrics_and_findings_come_when_they_change(self):
        projection = Projection()
        viewer = projection.viewer(View(rows=False))
        assert viewer.take(0.0).metrics is None
        projection.set_metrics({"cpu_usage": 1.0})
        projection.set_findings([{"severity": "high"}])
        frame = viewer.take(0.0)
        assert (frame.metrics, frame.findings, frame.run) == ({"cpu_usage": 1.0}, [{"severity": "high"}], None)

    def test_more_rows_than_a_frame_holds_come_in_several(self):
        projection = Projection()
        projection.apply([make_added(key, f"t{key}") for key in range(1, 2 * MAX_ROWS + 6)])
        viewer, client = projection.viewer(View()), Projection()
        sizes = []
        for _ in range(3):
            frame = viewer.take(0.0)
            sizes.append((frame.full, len(frame.rows), frame.more))
            client.apply_frame(frame)
            projection.apply([ev.TaskHeld(**about(1, "t1", cause="user")), make_added(10**9 + len(sizes), "t2")])
        assert sizes == [(True, MAX_ROWS, True), (False, MAX_ROWS, True), (False, 7, False)]
        client.apply_frame(viewer.take(0.0))
        assert client.rows == projection.rows
        assert viewer.take(0.0) is None


class TestClientSide:
    def test_a_copy_kept_by_frames_is_the_same_at_every_step(self):
        chance = random.Random(3)
        projection, client, key_of = Projection(), Projection(), {}
        projection.apply(run_of("w0", "w1"))
        viewer = projection.viewer(View())
        for step in range(1, 3000):
            task_id = f"t{chance.randrange(60)}"
            if task_id not in key_of or chance.random() < 0.05:
                key_of[task_id] = step
                projection.apply([_random_added(chance, step, task_id)])
            else:
                projection.apply([_random_event(chance, key_of[task_id], task_id)])
            if chance.random() < 0.1:
                frame = viewer.take(0.0)
                if frame is not None:
                    client.apply_frame(over_the_wire(frame))
                assert client.rows == projection.rows
                assert client.by_id == projection.by_id
                assert client.counts == projection.counts
                assert client.workers == projection.workers
                assert client.run == projection.run

    def test_what_changed_is_told(self):
        projection = projection_of(*run_of("w1"), make_added(1, "a"))
        viewer, client = projection.viewer(View()), Projection()
        first = client.apply_frame(over_the_wire(viewer.take(0.0)))
        assert first.everything
        assert set(first.parts) == {"rows", "counts", "workers", "findings", "run"}
        projection.set_metrics({"x": 1})
        projection.apply([ev.TaskHeld(**about(cause="user"))])
        second = client.apply_frame(over_the_wire(viewer.take(0.0)))
        assert (second.everything, second.keys, set(second.parts)) == (False, (1,), {"rows", "counts", "metrics"})

    def test_a_full_frame_replaces_what_was_there(self):
        client = projection_of(make_added(1, "a"), *run_of("w1"))
        client.apply_frame(over_the_wire(projection_of(make_added(2, "b")).viewer(View()).take(0.0)))
        assert list(client.rows) == [2]
        assert client.workers == {}
        assert nonzero(client) == {"queued": 1, "total": 1}

    def test_more_than_two_thousand_rows_are_told_as_everything(self):
        projection = Projection()
        viewer, client = projection.viewer(View()), Projection()
        client.apply_frame(viewer.take(0.0))
        projection.apply([make_added(key, f"t{key}") for key in range(2001)])
        assert client.apply_frame(viewer.take(0.0)).everything

    def test_a_frame_with_nothing_in_it_changes_nothing(self):
        assert Projection().apply_frame(Frame(seq=4, time=1.0)) == ev.ViewChanged(seq=4, time=1.0)


class TestChangesInProcess:
    def test_they_say_what_a_frame_would_hold(self):
        projection = projection_of(*run_of("w1"), make_added(1, "a"))
        assert projection.changes(-1, 9.0)[0].everything
        changed, known = projection.changes(0, 9.0)
        assert (changed.keys, changed.time) == ((1,), 9.0)
        assert set(changed.parts) == {"rows", "counts", "workers", "run"}
        assert projection.changes(known, 9.0) == (None, known)
        projection.apply([make_added(2, "a")])
        changed, known = projection.changes(known, 9.0)
        assert set(changed.keys) == {1, 2}
        projection.set_metrics({})
        assert projection.changes(known, 9.0)[0].parts == ("metrics",)

    def test_too_many_keys_are_everything(self):
        projection = Projection()
        projection.apply([make_added(key, f"t{key}") for key in range(2001)])
        assert projection.changes(0, 0.0)[0].everything
