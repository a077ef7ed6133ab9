"""The numbers of a run, counted from its events: exact, O(1) for each event, and null where nothing is known.

Definitions are those of the report (README). Percentages are 0-100, durations seconds, memory bytes; CPU is percent of one core.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from ..clock import SYSTEM_CLOCK, Clock
from ..events import events as ev
from ..tasks.model import State
from .process_tree import Usage, measure_tree

WINDOW = 60
"""Seconds over which the recent throughput is counted."""


class PerformanceMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """One look at a run. None means that it is not known (yet), never that it is nothing."""

    time: float = 0.0
    """When it was taken, seconds since the epoch."""
    tasks_completed: int = 0
    """Tasks that succeeded, with those answered from the cache."""
    tasks_failed: int = 0
    tasks_timed_out: int = 0
    tasks_cancelled: int = 0
    tasks_skipped: int = 0
    """Because a dependency failed."""
    tasks_cached: int = 0
    """Of the completed ones, those answered from the cache."""
    tasks_in_progress: int | None = 0
    """Tasks that a worker has: running, or given to it and waiting there."""
    concurrent_tasks: int | None = 0
    """Tasks that run at this moment."""
    peak_concurrent_tasks: int | None = 0
    average_task_time: float | None = None
    """Of the last attempt of each task that ran to its end (succeeded, failed or timed out, not from the cache)."""
    min_task_time: float | None = None
    max_task_time: float | None = None
    throughput_tasks_per_minute: float | None = None
    """Tasks that succeeded, failed or timed out, from the first dispatch until now (until the last one, when nothing is left)."""
    recent_tasks_per_minute: int | None = None
    """The same, over the last 60 seconds."""
    cpu_usage: float | None = None
    """Engine, workers and all they started, since the measurement before."""
    memory_usage: int | None = None
    """Resident bytes of the same processes; memory that they share is counted for each."""
    engine_memory: int | None = None
    """Resident bytes of the engine alone."""
    processes: int | None = None
    process_pool_reuse_rate: float | None = None
    """Dispatches to a worker that had already run a task, over all dispatches."""
    dispatches: int | None = None
    workers: int | None = None
    """Worker slots."""
    workers_started: int | None = None
    workers_crashed: int | None = None
    cache_hits: int | None = None
    cache_misses: int | None = None
    cache_hit_rate: float | None = None
    tokens_used: int | None = None
    """Tokens that agents reported, of all attempts; None when none did."""
    token_efficiency: float | None = None
    """Tokens of succeeded tasks over all tokens spent."""
    timeout_count: int | None = 0
    """Attempts that timed out."""
    retry_count: int | None = 0
    """Attempts that followed a failed one."""
    requeue_count: int | None = 0
    """Tasks that went back to the queue because their worker was lost."""
    circuit_breaker_trips: int | None = None
    """None: there is no breaker."""


@dataclass(frozen=True, slots=True)
class Gauges:
    """What the parts of the engine know better than their events tell; None where there is no such part."""

    dispatches: int | None = None
    reused: int | None = None
    """Of the dispatches, those to a worker that had already run a task."""
    workers: int | None = None
    workers_started: int | None = None
    workers_crashed: int | None = None
    cache_hits: int | None = None
    cache_misses: int | None = None


_EMPTY = Gauges()


class MetricsCollector:
    """Counts events. All state is owned by whoever calls `apply`, in one thread."""

    def __init__(
        self,
        clock: Clock = SYSTEM_CLOCK,
        *,
        pid: int | None = None,
        measure: Callable[[int], Usage | None] = measure_tree,
    ) -> None:
        self._clock = clock
        self._pid = pid or os.getpid()
        self._measure = measure
        self._gauges = _EMPTY
        self._usage: Usage | None = None
        self._usage_at = 0.0
        self._cpu: float | None = None
        self._ended = dict.fromkeys(("succeeded", "failed", "timed_out", "cancelled", "skipped"), 0)
        self._cached = self._retries = self._requeues = self._timeouts = 0
        self._leased: set[int] = set()
        self._running: set[int] = set()
        self._peak = 0
        self._times = _Times()
        self._first_dispatch: float | None = None
        self._last_settled: float | None = None
        self._recent = _Recent()
        self._tokens_all = self._tokens_useful = 0
        self._tokens_seen = False
        self._steps: dict[type[ev.Event], Callable[[Any], None]] = {
            ev.TaskLeased: self._task_leased,
            ev.TaskStarted: self._task_started,
            ev.TaskRecalled: self._task_left,
            ev.TaskRetryScheduled: self._task_retried,
            ev.TaskRequeued: self._task_requeued,
            ev.TaskHeld: self._task_left,
            ev.TaskFinished: self._task_finished,
        }

    def apply(self, events: Sequence[ev.Event]) -> None:
        """Count these events."""
        steps = self._steps
        for event in events:
            step = steps.get(type(event))
            if step is not None:
                step(event)

    def sample(self, gauges: Gauges = _EMPTY) -> None:
        """Measure the processes and take over the gauges; CPU use is what was used since the sample before."""
        self._gauges = gauges
        now, usage = self._clock.monotonic(), self._measure(self._pid)
        before, elapsed = self._usage, now - self._usage_at
        if usage is not None and before is not None and elapsed > 0:
            self._cpu = max(0.0, usage.cpu_seconds - before.cpu_seconds) / elapsed * 100.0
        self._usage, self._usage_at = usage, now

    def refresh(self, gauges: Gauges) -> None:
        """Take over the gauges without measuring the processes."""
        self._gauges = gauges

    def metrics(self, now: float) -> PerformanceMetrics:
        """All numbers at `now` (seconds since the epoch)."""
        gauges, usage, ended, times = self._gauges, self._usage, self._ended, self._times
        return PerformanceMetrics(
            time=now,
            tasks_completed=ended["succeeded"],
            tasks_failed=ended["failed"],
            tasks_timed_out=ended["timed_out"],
            tasks_cancelled=ended["cancelled"],
            tasks_skipped=ended["skipped"],
            tasks_cached=self._cached,
            tasks_in_progress=len(self._leased),
            concurrent_tasks=len(self._running),
            peak_concurrent_tasks=self._peak,
            average_task_time=times.mean,
            min_task_time=times.least,
            max_task_time=times.most,
            throughput_tasks_per_minute=self._throughput(now),
            recent_tasks_per_minute=None if self._first_dispatch is None else self._recent.count(now),
            cpu_usage=self._cpu,
            memory_usage=usage.rss if usage else None,
            engine_memory=usage.root_rss if usage else None,
            processes=usage.processes if usage else None,
            process_pool_reuse_rate=_percent(gauges.reused, gauges.dispatches),
            dispatches=gauges.dispatches,
            workers=gauges.workers,
            workers_started=gauges.workers_started,
            workers_crashed=gauges.workers_crashed,
            cache_hits=gauges.cache_hits,
            cache_misses=gauges.cache_misses,
            cache_hit_rate=_percent(gauges.cache_hits, _sum(gauges.cache_hits, gauges.cache_misses)),
            tokens_used=self._tokens_all if self._tokens_seen else None,
            token_efficiency=_percent(self._tokens_useful, self._tokens_all),
            timeout_count=self._timeouts,
            retry_count=self._retries,
            requeue_count=self._requeues,
        )

    def _throughput(self, now: float) -> float | None:
        if self._first_dispatch is None:
            return None
        idle = not self._leased and self._last_settled is not None
        until = self._last_settled if idle else now
        ended = sum(self._ended[state] for state in ("succeeded", "failed", "timed_out"))
        elapsed = (until or now) - self._first_dispatch
        return ended / elapsed * 60.0 if elapsed > 0 and ended else None

    # Events.

    def _task_leased(self, event: ev.TaskLeased) -> None:
        self._leased.add(event.key)
        if self._first_dispatch is None:
            self._first_dispatch = event.time

    def _task_started(self, event: ev.TaskStarted) -> None:
        self._leased.add(event.key)
        self._running.add(event.key)
        self._peak = max(self._peak, len(self._running))

    def _task_left(self, event: ev.TaskEvent) -> None:
        self._leased.discard(event.key)
        self._running.discard(event.key)

    def _task_retried(self, event: ev.TaskRetryScheduled) -> None:
        self._task_left(event)
        self._retries += 1
        self._timeouts += event.outcome == State.TIMED_OUT
        self._spend(event.tokens, useful=False)

    def _task_requeued(self, event: ev.TaskRequeued) -> None:
        self._task_left(event)
        self._requeues += 1

    def _task_finished(self, event: ev.TaskFinished) -> None:
        self._task_left(event)
        if event.state == State.SKIPPED:
            self._ended["skipped"] += event.cause == "dependency_failed"
            return
        self._ended[event.state] += 1
        self._cached += event.cached
        self._last_settled = event.time
        if event.state == State.CANCELLED:
            self._spend(event.tokens, useful=False)
            return
        self._recent.add(event.time)
        if event.cached:
            return  # nothing ran and nothing was spent
        self._timeouts += event.state == State.TIMED_OUT
        self._times.add(event.duration_s)
        self._spend(event.tokens, useful=event.state == State.SUCCEEDED)

    def _spend(self, tokens: Any, *, useful: bool) -> None:
        if tokens is None:
            return
        self._tokens_seen = True
        self._tokens_all += tokens.total
        self._tokens_useful += tokens.total if useful else 0


class _Times:
    """Mean, least and most of durations."""

    def __init__(self) -> None:
        self._count = 0
        self._total = 0.0
        self.least: float | None = None
        self.most: float | None = None

    def add(self, seconds: float) -> None:
        self._count += 1
        self._total += seconds
        self.least = seconds if self.least is None else min(self.least, seconds)
        self.most = seconds if self.most is None else max(self.most, seconds)

    @property
    def mean(self) -> float | None:
        return self._total / self._count if self._count else None


class _Recent:
    """How many happened in the last `WINDOW` seconds: one count for each second, overwritten a minute later."""

    def __init__(self) -> None:
        self._second = [-1] * WINDOW
        self._count = [0] * WINDOW

    def add(self, time: float) -> None:
        second = int(time)
        place = second % WINDOW
        if self._second[place] != second:
            self._second[place], self._count[place] = second, 0
        self._count[place] += 1

    def count(self, now: float) -> int:
        first = int(now) - WINDOW + 1
        return sum(count for second, count in zip(self._second, self._count, strict=True) if first <= second <= now)


def _percent(part: int | None, whole: int | None) -> float | None:
    return 100.0 * part / whole if whole and part is not None else None


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other
