"""The engine's own side of the monitor: counts its events, measures, names bottlenecks, makes its report."""

from __future__ import annotations

import asyncio
import itertools
import weakref
from pathlib import Path
from typing import Any, Protocol

import msgspec

from ..clock import Clock
from ..config import Settings
from ..errors import EngineError
from ..events.bus import EventBus
from ..events.events import FindingsChanged
from ..events.projection import Projection
from .bottlenecks import Finding, detect
from .metrics import Gauges, MetricsCollector, PerformanceMetrics
from .report import build_report, write_report
from .stored import StoredRun, read_last_run

# Mutable state of the module: the observers of this process, weakly, by a number that grows.
_live: weakref.WeakValueDictionary[int, Observer] = weakref.WeakValueDictionary()
_numbers = itertools.count()


class PoolCounts(Protocol):
    """What the observer reads of a pool's statistics."""

    @property
    def created(self) -> int:
        """Processes that were started."""

    @property
    def crashed(self) -> int:
        """Processes that ended by themselves."""

    @property
    def dispatches(self) -> int:
        """Tasks that were given to a worker."""

    @property
    def reused(self) -> int:
        """Of those, to a worker that had had one before."""


class Pool(Protocol):
    """What the observer asks of a pool."""

    @property
    def size(self) -> int:
        """Worker slots."""

    def statistics(self) -> PoolCounts:
        """The pool up to now."""


class InFolder(Protocol):
    """Something that belongs to a state folder."""

    @property
    def folder(self) -> Path:
        """The state folder, absolute."""


class Engine(Protocol):
    """What the observer asks of an orchestrator."""

    settings: Settings
    bus: EventBus
    projection: Projection
    clock: Clock

    @property
    def process_pool(self) -> Pool:
        """The pool; raises `EngineError` when there is none."""

    @property
    def cache_hits(self) -> int:
        """Answers from the cache."""

    @property
    def cache_misses(self) -> int:
        """Look-ups without an answer."""

    @property
    def monitor(self) -> InFolder:
        """Tells the folder."""


class Observer:
    """Watches one engine from inside: counts its events, measures, names bottlenecks, makes its report.

    Without `tasks` the engine does not work: then everything is told of the folder's last run. With ``monitoring.enable_metrics`` off
    nothing is counted or measured.
    """

    def __init__(self, engine: Engine, tasks: asyncio.TaskGroup | None) -> None:
        self.folder = engine.monitor.folder
        """Of the engine, absolute."""
        self._engine = engine
        self._works = tasks is not None
        self._collector: MetricsCollector | None = None
        self._named: list[tuple[str, str]] = []
        if self._works:
            if engine.settings.monitoring.enable_metrics:
                self._collector = MetricsCollector(engine.clock)
                engine.bus.listen(self._collector.apply, name="monitor")
            _live[next(_numbers)] = self

    def __repr__(self) -> str:
        return f"<Observer of {self.folder}>"

    def tick(self) -> None:
        """Measure, and tell the projection; a change of what is wrong is an event."""
        if self._collector is None:
            return
        self._collector.sample(self._gauges())
        metrics = self._collector.metrics(self._engine.clock.time())
        findings = self._detect(metrics)
        self._engine.projection.set_metrics(msgspec.structs.asdict(metrics))
        told = [finding.as_dict() for finding in findings]
        named: list[tuple[str, str]] = [(finding.bottleneck_type, finding.severity) for finding in findings]
        if named != self._named:
            self._named = named
            self._engine.bus.publish(FindingsChanged(findings=tuple(told)))
        elif told != self._engine.projection.findings:
            self._engine.projection.set_findings(told)

    def metrics(self) -> PerformanceMetrics | None:
        """The numbers of this moment; None when they are switched off or nothing has run."""
        if not self._works:
            stored = self._stored()
            return stored.metrics if stored else None
        if self._collector is None:
            return None
        self._collector.refresh(self._gauges())
        return self._collector.metrics(self._engine.clock.time())

    def findings(self) -> tuple[Finding, ...]:
        """The bottlenecks of this moment."""
        metrics = self.metrics()
        return () if metrics is None else self._detect(metrics)

    def report(self) -> dict[str, Any]:
        """The report of this moment."""
        engine = self._engine
        metrics = self.metrics()
        stored = None if self._works else self._stored()
        return build_report(
            list(engine.projection.rows.values()),
            metrics,
            () if metrics is None else self._detect(metrics),
            stored.settings if stored else engine.settings.model_dump(mode="json"),
            msgspec.structs.asdict(stored.run if stored else engine.projection.run),
            now=engine.clock.time(),
        )

    async def write(self, path: Path, report: dict[str, Any]) -> None:
        """Write `report` to `path` without holding up the loop. Raises `EngineError`."""
        await asyncio.to_thread(write_report, path, report)

    def _stored(self) -> StoredRun | None:
        try:
            return read_last_run(self.folder)
        except EngineError:
            return None

    def _detect(self, metrics: PerformanceMetrics) -> tuple[Finding, ...]:
        settings = self._engine.settings
        return detect(metrics, settings.monitoring, reuse_enabled=settings.codex.enable_process_reuse)

    def _gauges(self) -> Gauges:
        engine = self._engine
        try:
            pool = engine.process_pool
        except EngineError:
            return Gauges()
        counted = pool.statistics()
        return Gauges(
            dispatches=counted.dispatches,
            reused=counted.reused,
            workers=pool.size,
            workers_started=counted.created,
            workers_crashed=counted.crashed,
            cache_hits=engine.cache_hits,
            cache_misses=engine.cache_misses,
        )


def newest_observer(folder: Path, *, or_any: bool) -> Observer | None:
    """The observer of this process's newest engine on `folder`; else, `or_any`, of its newest engine anywhere."""
    newest = [observer for _, observer in sorted(_live.items(), reverse=True)]
    here = [observer for observer in newest if observer.folder == folder]
    return next(iter(here or (newest if or_any else [])), None)
