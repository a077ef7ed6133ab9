"""Counting events: exact numbers, and None where nothing is known."""

import random

import pytest

from engine.events import events as ev
from engine.monitoring.metrics import WINDOW, Gauges, MetricsCollector, PerformanceMetrics
from engine.monitoring.process_tree import Usage
from engine.tasks.model import Tokens

REPORT_NAMES = {
    "tasks_completed", "tasks_failed", "tasks_in_progress", "average_task_time", "min_task_time", "max_task_time", "cpu_usage",
    "memory_usage", "process_pool_reuse_rate", "cache_hit_rate", "token_efficiency", "concurrent_tasks",
    "throughput_tasks_per_minute", "circuit_breaker_trips", "timeout_count", "retry_count",
}  # fmt: skip


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


def collector(**options) -> MetricsCollector:
    options.setdefault("measure", lambda pid: None)
    return MetricsCollector(Clock(), pid=1, **options)


def leased(key, time=100.0):
    return ev.TaskLeased(task_id=str(key), key=key, worker="w1", attempt=1, time=time)


def started(key, time=100.0):
    return ev.TaskStarted(task_id=str(key), key=key, worker="w1", attempt=1, time=time)


def finished(key, state="succeeded", time=101.0, **fields):
    fields.setdefault("attempt", 1)
    return ev.TaskFinished(task_id=str(key), key=key, state=state, time=time, **fields)


def retried(key, **fields):
    return ev.TaskRetryScheduled(task_id=str(key), key=key, attempt=1, delay_s=1.0, retries_left=1, **fields)


def after(*events, now=101.0) -> PerformanceMetrics:
    counted = collector()
    counted.apply(events)
    return counted.metrics(now)


def test_the_report_has_the_promised_names():
    assert set(PerformanceMetrics.__struct_fields__) >= REPORT_NAMES


def test_nothing_is_invented_before_anything_happened():
    metrics = after()

    unknown = {name for name in PerformanceMetrics.__struct_fields__ if getattr(metrics, name) is None}
    assert unknown >= {
        "average_task_time", "min_task_time", "max_task_time", "cpu_usage", "memory_usage", "process_pool_reuse_rate",
        "cache_hit_rate", "token_efficiency", "tokens_used", "throughput_tasks_per_minute", "circuit_breaker_trips",
    }  # fmt: skip
    assert (metrics.tasks_completed, metrics.tasks_failed, metrics.tasks_in_progress) == (0, 0, 0)


def test_each_end_is_counted_once():
    metrics = after(
        finished(1),
        finished(2, cached=True),
        finished(3, "failed"),
        finished(4, "timed_out"),
        finished(5, "cancelled"),
        finished(6, "skipped", cause="dependency_failed"),
        finished(7, "skipped", cause="done_in_file"),
        finished(8, "skipped", cause="run_if_unmet"),
    )

    assert (metrics.tasks_completed, metrics.tasks_cached, metrics.tasks_failed) == (2, 1, 1)
    assert (metrics.tasks_timed_out, metrics.tasks_cancelled, metrics.tasks_skipped) == (1, 1, 1)
    assert metrics.timeout_count == 1


def test_task_times_are_of_attempts_that_ran_to_their_end():
    metrics = after(
        finished(1, duration_s=2.0),
        finished(2, "failed", duration_s=1.0),
        finished(3, "timed_out", duration_s=6.0),
        finished(4, cached=True, duration_s=50.0),
        finished(5, "cancelled", duration_s=0.1),
    )

    assert (metrics.average_task_time, metrics.min_task_time, metrics.max_task_time) == (3.0, 1.0, 6.0)


def test_what_runs_now_and_what_a_worker_has():
    counted = collector()
    counted.apply([leased(1), leased(2), leased(3), started(1), started(2)])
    assert counted.metrics(0).tasks_in_progress == 3
    assert counted.metrics(0).concurrent_tasks == 2

    counted.apply(
        [finished(1), ev.TaskRecalled(task_id="3", key=3), ev.TaskRequeued(task_id="2", key=2, attempt=1, crashes=1)]
    )

    metrics = counted.metrics(0)
    assert (metrics.tasks_in_progress, metrics.concurrent_tasks, metrics.peak_concurrent_tasks) == (0, 0, 2)
    assert metrics.requeue_count == 1


def test_a_result_without_a_start_leaves_nothing_running():
    assert after(leased(1), finished(1)).tasks_in_progress == 0


def test_retries_and_time_outs_of_attempts():
    metrics = after(
        leased(1), retried(1, outcome="timed_out"), leased(1), retried(1, outcome="failed"), leased(1), finished(1)
    )

    assert (metrics.retry_count, metrics.timeout_count, metrics.tasks_completed) == (2, 1, 1)
    assert metrics.tasks_in_progress == 0


def test_tokens_of_lost_attempts_count_against_efficiency():
    spent = Tokens(input=60, output=40, cached=50, reasoning=10)

    metrics = after(
        retried(1, tokens=spent), finished(1, tokens=spent), finished(2, "failed", tokens=spent), finished(3, cached=True, tokens=spent),
        finished(4, "cancelled", tokens=spent), finished(5),
    )  # fmt: skip

    assert metrics.tokens_used == 400
    assert metrics.token_efficiency == 25.0


def test_throughput_is_from_the_first_dispatch_until_now_or_the_last_end():
    events = [leased(1, 100.0), leased(2, 105.0), finished(1, time=110.0)]

    assert after(*events, now=130.0).throughput_tasks_per_minute == 2.0
    done = after(*events, finished(2, "failed", time=160.0), now=999.0)
    assert done.throughput_tasks_per_minute == 2.0
    assert after(finished(1, cached=True)).throughput_tasks_per_minute is None


def test_recent_throughput_looks_back_one_minute():
    rng = random.Random(3)
    times = sorted(rng.uniform(1000, 1200) for _ in range(400))
    counted = collector()
    counted.apply([leased(0, 1000.0)])

    for number, time in enumerate(times):
        counted.apply([finished(number, time=time)])
        wanted = sum(int(time) - WINDOW < int(other) for other in times[: number + 1])
        assert counted.metrics(time).recent_tasks_per_minute == wanted
    assert counted.metrics(1500).recent_tasks_per_minute == 0


def test_gauges_give_rates_only_where_there_is_something_to_divide_by():
    counted = collector()
    counted.sample(
        Gauges(dispatches=8, reused=6, workers=2, workers_started=3, workers_crashed=1, cache_hits=1, cache_misses=3)
    )
    metrics = counted.metrics(0)
    assert (metrics.process_pool_reuse_rate, metrics.cache_hit_rate) == (75.0, 25.0)
    assert (metrics.workers, metrics.workers_started, metrics.workers_crashed, metrics.dispatches) == (2, 3, 1, 8)

    counted.refresh(Gauges(dispatches=0, reused=0, cache_hits=0, cache_misses=0))

    assert (counted.metrics(0).process_pool_reuse_rate, counted.metrics(0).cache_hit_rate) == (None, None)


def test_cpu_is_what_was_used_since_the_sample_before():
    clock = Clock()
    usages = iter(
        [Usage(10.0, 500, 100, 3), Usage(11.0, 700, 120, 4), None, Usage(13.0, 1, 1, 1), Usage(12.0, 1, 1, 1)]
    )
    counted = MetricsCollector(clock, pid=1, measure=lambda pid: next(usages))

    counted.sample()
    assert (counted.metrics(0).cpu_usage, counted.metrics(0).memory_usage) == (None, 500)
    clock.now = 2.0
    counted.sample()
    metrics = counted.metrics(0)
    assert (metrics.cpu_usage, metrics.memory_usage, metrics.engine_memory, metrics.processes) == (50.0, 700, 120, 4)
    clock.now = 3.0
    counted.sample()
    assert counted.metrics(0).memory_usage is None
    counted.sample()
    clock.now = 4.0
    counted.sample()
    assert counted.metrics(0).cpu_usage == 0.0


def test_metrics_cannot_be_changed():
    with pytest.raises(AttributeError):
        after().tasks_completed = 5
