"""What the stored state of a folder tells about its last run."""

import msgspec
import pytest

from engine.errors import StateFolderError
from engine.monitoring.metrics import PerformanceMetrics
from engine.monitoring.stored import read_last_run, stored_metrics
from engine.storage.rows import RunRecord, Stored
from engine.tasks.model import State, Task


def stored(key, state="succeeded", **fields) -> Stored:
    values = {
        "key": key, "task": Task(id=str(key)), "digest": "", "generation": 1, "state": State(state), "cause": "", "attempt": 1,
        "priority": 200.0, "manual": 0.0, "created_at": 0.0, "retries_left": 0, "crashes": 0, "retry_at": None, "lease": 0,
        "worker": "", "finished_at": 15.0, "duration": 2.0, "exit_code": 0, "error": "", "cached": False, "lines": 0,
        "tokens": None, "value": None, **fields,
    }  # fmt: skip
    return Stored(**values)


def run(**fields) -> RunRecord:
    return RunRecord(run_id="r", started_at=10.0, **fields)


def test_what_the_engine_left_is_taken_as_it_is():
    left = PerformanceMetrics(tasks_completed=7, cpu_usage=12.5, process_pool_reuse_rate=90.0)
    summary = {"succeeded": 7, "metrics": {**msgspec.structs.asdict(left), "of_a_later_version": 1}}

    assert stored_metrics(run(summary=summary), []) == left


def test_what_another_version_left_is_counted_again():
    metrics = stored_metrics(run(summary={"metrics": {"tasks_completed": "many"}}), [stored(1)])

    assert metrics.tasks_completed == 1


def test_only_tasks_that_ended_in_the_run_count():
    rows = [
        stored(1, finished_at=9.0),
        stored(2, "queued", finished_at=None),
        stored(3),
        stored(4, "failed", duration=4.0),
        stored(5, "timed_out", duration=6.0),
        stored(6, cached=True, duration=99.0),
        stored(7, "cancelled", duration=50.0),
        stored(8, "skipped", cause="dependency_failed"),
        stored(9, "skipped", cause="done_in_file"),
    ]

    metrics = stored_metrics(run(finished_at=20.0), rows)

    assert (metrics.tasks_completed, metrics.tasks_failed, metrics.tasks_timed_out, metrics.tasks_cached) == (
        2,
        1,
        1,
        1,
    )
    assert (metrics.tasks_cancelled, metrics.tasks_skipped, metrics.tasks_in_progress) == (1, 1, 0)
    assert (metrics.average_task_time, metrics.min_task_time, metrics.max_task_time) == (4.0, 2.0, 6.0)
    assert metrics.time == 20.0


def test_what_tasks_do_not_tell_is_unknown():
    metrics = stored_metrics(run(), [])

    assert {
        metrics.tasks_in_progress,
        metrics.concurrent_tasks,
        metrics.peak_concurrent_tasks,
        metrics.retry_count,
    } == {None}
    assert {metrics.timeout_count, metrics.requeue_count, metrics.average_task_time, metrics.tokens_used} == {None}


def test_a_damaged_folder_is_one_line(tmp_path):
    (tmp_path / "state.db").write_bytes(b"no database" * 100)

    with pytest.raises(StateFolderError) as caught:
        read_last_run(tmp_path)

    assert "\n" not in str(caught.value)
