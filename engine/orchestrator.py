"""The orchestrator: builds the parts of an engine from `Settings`, owns their life, and is the door for Python users.

It has no policy: what runs next is decided in `engine.scheduling`, how it runs in `engine.workers`. ``python -m engine.orchestrator FILE``
is the plain way of work, with lines or JSON on stdout and no app.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec

from .caching.result_cache import ResultCache
from .clock import SYSTEM_CLOCK, Clock
from .config import Settings, load_settings, process_environment
from .errors import CommandRefusedError, EngineError
from .events import events as ev
from .events.bus import EventBus
from .events.projection import Projection, TaskRow
from .performance_monitor import Observer, PerformanceMonitor
from .scheduling import agents, intake
from .scheduling.dispatcher import Dispatcher
from .scheduling.explain import Planned, plan, why_idle
from .scheduling.intake import Submission
from .scheduling.retry import RetryPolicy
from .scheduling.scheduler import Policy, Scheduler
from .session.handler import CommandHandler
from .session.local import LocalSession
from .session.lock import FolderLock
from .session.protocol import AnyCommand, Reply
from .session.server import SessionServer
from .session.socket_path import socket_path
from .storage.database import Database
from .storage.folder import StateFolder
from .storage.task_store import Stored, TaskStore
from .tasks.model import Cause, State, Task
from .tasks.taskfile import read_task_files
from .workers.identity import boot_id, end_leftovers
from .workers.pool import PoolOptions, ProcessPool
from .workers.progress import read_progress

_log = logging.getLogger("mi4.engine.orchestrator")
T = TypeVar("T")

STATE_DIR = ".mi4"
"""The state folder, in the working folder, unless another is named."""
_SHUTDOWN_SECONDS = 1.0
"""How long a stop waits beyond the kill grace for tasks that it cancelled."""


class RunResults(msgspec.Struct, frozen=True, kw_only=True):
    """What `Orchestrator.run` returns."""

    finished: ev.RunFinished
    """The counts of the run."""
    tasks: dict[str, TaskRow]
    """Each submitted task as it stands now, by id."""


class Orchestrator:
    """One engine on one state folder; use it as ``async with Orchestrator(...) as orchestrator``.

    With ``work=False`` it takes the lock and answers commands on the stored state, but starts no worker; ``serve=False`` opens no
    socket. Entering raises `StateFolderError`, `EngineRunningError` or `WorkerStartError`.
    """

    def __init__(
        self, settings: Settings | None = None, *, folder: Path | str = STATE_DIR, environ: Mapping[str, str] | None = None,
        clock: Clock = SYSTEM_CLOCK, work: bool = True, serve: bool = True,
    ) -> None:  # fmt: skip
        self.settings = settings or load_settings().settings
        self.clock = clock
        self.run_id = uuid.uuid4().hex
        self.bus = EventBus(clock)
        self.projection = Projection()
        self.stopping = False
        """Whether somebody told the engine to end."""
        self._path = Path(folder)
        self._environ = dict(process_environment() if environ is None else environ)
        self._work = work
        self._serve = serve and work
        # Mutable state, owned here from __aenter__ to __aexit__: the parts, in the order in which they are built.
        self._stack = AsyncExitStack()
        self._folder: StateFolder | None = None
        self._store: TaskStore | None = None
        self._cache: ResultCache | None = None
        self._pool: ProcessPool | None = None
        self._server: SessionServer | None = None
        self._dispatcher: Dispatcher | None = None
        self._handler: CommandHandler | None = None
        self._observer: Observer | None = None
        self._idle = asyncio.Event()
        self._announced: ev.RunFinished | None = None
        self._fault: Exception | None = None
        self._closing = asyncio.Event()
        self._session: LocalSession | None = None

    def __repr__(self) -> str:
        return f"<Orchestrator {self._path} run={self.run_id[:8]} {self.projection.run.state}>"

    # What users of the library read.

    @property
    def process_pool(self) -> ProcessPool:
        """The pool of warm workers; its ``stats.get_reuse_rate()`` is in percent."""
        return _built(self._pool)

    @property
    def cache_hits(self) -> int:
        """Tasks of this run whose result came from the cache."""
        return self._cache.hits if self._cache else 0

    @property
    def cache_misses(self) -> int:
        """Tasks of this run that declare caching and were not in the cache."""
        return self._cache.misses if self._cache else 0

    @property
    def task_execution_times(self) -> dict[str, float]:
        """Run time in seconds of the last attempt of each task that ran, by id."""
        return dict(_built(self._dispatcher).scheduler.ledger.tally.durations)

    @property
    def session(self) -> LocalSession:
        """What a viewer in this process talks to."""
        return _built(self._session)

    @property
    def clients(self) -> int:
        """Viewers that are attached over the socket."""
        return self._server.clients if self._server else 0

    @property
    def monitor(self) -> PerformanceMonitor:
        """The monitor of this run."""
        return PerformanceMonitor(self._path)

    # Work.

    async def submit(self, tasks: Sequence[Task], *, agent: str | None = None, rerun: bool = False) -> Submission:
        """Accept tasks; returns once they are on disk. Raises `AgentMissingError` or `TaskFileError` and then has taken none."""
        outcome = await _built(self._handler).submit(self._with_kinds(tasks, agent), rerun=rerun)
        for task_id, why in outcome.refused.items():
            _log.warning("task %r was not changed: %s", task_id, why)
        return outcome

    async def run(
        self, source: str | Path | Sequence[Task], *, agent: str | None = None, rerun: bool = False
    ) -> RunResults:
        """Submit a task file or tasks, wait until nothing is left to run, and return what became of them."""
        known = self.projection.by_id
        tasks = (
            read_task_files([Path(source)], cwd=Path.cwd(), known=known).tasks
            if isinstance(source, str | Path)
            else source
        )
        await self.submit(tasks, agent=agent, rerun=rerun)
        finished = await self.wait_idle()
        rows = {task.id: self.projection.row(task.id) for task in tasks}
        return RunResults(finished=finished, tasks={task_id: row for task_id, row in rows.items() if row is not None})

    async def handle(self, command: AnyCommand) -> Reply:
        """Carry out a command; what it refuses is raised as an `EngineError`."""
        return await _built(self._handler).handle(command)

    async def wait_idle(self) -> ev.RunFinished:
        """Wait until nothing runs and nothing will start by itself. Raises what made the engine unable to go on."""
        dispatcher = _built(self._dispatcher)
        while not dispatcher.idle:
            self._idle.clear()
            await self._idle.wait()
            if self._fault is not None:
                raise self._fault
        return self.summary()

    def summary(self) -> ev.RunFinished:
        """The counts of this run so far."""
        ledger = _built(self._dispatcher).scheduler.ledger
        tally = ledger.tally
        first, last = tally.first_dispatch, tally.last_settle
        duration = 0.0 if first is None or last is None else max(0.0, last - first)
        names = ("succeeded", "failed", "timed_out", "cancelled", "skipped", "not_needed", "cached", "already_done")
        counts = {name: getattr(tally, name) for name in names}
        return ev.RunFinished(**counts, held=ledger.held, duration_s=round(duration, 6))

    def plan(self, tasks: Sequence[Task], *, agent: str | None = None) -> list[Planned]:
        """The order in which these tasks would start; reads what succeeded before, runs and writes nothing."""
        filled = self._with_kinds(tasks, agent)
        fifo = self.settings.orchestration.schedule == "fifo"
        done = self._done_before(filled)
        return plan(filled, self.clock.time(), done, fifo=fifo, retry=self._retry_policy())

    def drain(self) -> None:
        """Start nothing new; `wait_idle` returns once what runs has ended."""
        dispatcher = _built(self._dispatcher)
        dispatcher.scheduler.draining = True
        self.stopping = True
        self.projection.set_draining()
        dispatcher.scheduler.recall_unbegun(lambda entry: True)  # noqa: ARG005 - every lease
        dispatcher.wake()
        self._idle.set()

    def cancel_all(self, *, cause: Cause = Cause.SHUTDOWN, force: bool = False) -> None:
        """Cancel what runs, and for `Cause.FAIL_FAST` also what waits; what a user or a crash holds stays held."""
        dispatcher = _built(self._dispatcher)
        scheduler = dispatcher.scheduler
        for entry in list(scheduler.ledger.by_id.values()):
            waits = entry.state in (State.PENDING, State.QUEUED, State.BACKOFF)
            if entry.worker is not None or (waits and cause is Cause.FAIL_FAST):
                scheduler.cancel(entry, force=force, cause=cause)
        dispatcher.wake()

    def stop(self, now: bool = False) -> None:
        """End the engine: once what runs has ended, or `now` after cancelling it."""
        self.drain()
        if now:
            self.cancel_all()

    # Life.

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await self._open(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._stack.__aexit__(kind, error, trace)
        except BaseExceptionGroup as group:
            # The task groups inside wrap what the body raised; its caller wrote no task group and wants the error itself.
            if error is None or _others(group, error):
                raise

    async def _open(self, stack: AsyncExitStack) -> None:
        loop = asyncio.get_running_loop()
        folder = self._folder = StateFolder.open(self._path)
        lock = stack.enter_context(FolderLock.acquire(folder, self.run_id))
        # Before anything is read: a host of an engine that was killed may still write its progress page.
        await asyncio.to_thread(end_leftovers, folder.progress, but=self.run_id)
        database = Database.open(folder.database)
        database.start(loop)
        stack.push_async_callback(database.aclose)
        store = self._store = TaskStore(database)
        database.on_trouble = self._storage_trouble
        self.bus.listen(self.projection.apply, name="projection")
        dispatcher = self._dispatcher = self._build_dispatcher(database, store)
        self._handler = CommandHandler(
            dispatcher, store, folder, with_kinds=lambda tasks: self._with_kinds(tasks, None),
            make_report=self._make_report, stop=self.stop,
        )  # fmt: skip
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        dispatcher.start(tasks)
        self._session = await stack.enter_async_context(
            LocalSession(self.projection, self.bus, self.handle, self.clock)
        )
        self._restore(store, dispatcher.scheduler)
        await dispatcher.settled()
        if self._work:
            await self._start_work(stack, lock, tasks, store, dispatcher, folder)
        dispatcher.wake()

    def _build_dispatcher(self, database: Database, store: TaskStore) -> Dispatcher:
        chosen = self.settings.orchestration
        reuse = self.settings.codex.enable_process_reuse
        policy = Policy(
            fifo=chosen.schedule == "fifo",
            limits=chosen.limits,
            crash_limit=chosen.crash_limit,
            max_prefetch=chosen.max_prefetch if reuse else 1,
            caching=self.settings.codex.enable_caching,
            agent_timeout=self.settings.codex.timeout_seconds,
            retry=self._retry_policy(),
        )
        scheduler = Scheduler(policy, self.clock, next_key=store.next_key(), next_lease=store.next_lease())
        dispatcher = Dispatcher(scheduler, store, self.bus, self.clock, environ=self._environ)
        self._cache = ResultCache(database, self.settings.cache, self.clock, enabled=policy.caching)
        dispatcher.cache = self._cache
        dispatcher.on_idle = self._is_idle
        dispatcher.on_fault = self._failed
        return dispatcher

    async def _start_work(
        self, stack: AsyncExitStack, lock: FolderLock, tasks: asyncio.TaskGroup, store: TaskStore, dispatcher: Dispatcher,
        folder: StateFolder,
    ) -> None:  # fmt: skip
        started = self.clock.time()
        await store.runs.begin(self.run_id, started, self.settings.model_dump(mode="json"))
        stack.push_async_callback(self._record_end, store)
        size = self._pool_size()
        self.bus.publish(ev.RunStarted(run_id=self.run_id, pid=os.getpid(), workers=size))
        pool = self._pool = dispatcher.pool = ProcessPool(
            size=size, run_id=self.run_id, folder=folder, environ=self._environ, options=self._pool_options(),
            bus=self.bus, clock=self.clock,
        )  # fmt: skip
        pool.listener = dispatcher
        await pool.start()
        stack.push_async_callback(self._end_work, dispatcher, pool)
        if self._serve:
            path = socket_path(folder.path, self._environ)
            self._server = SessionServer(
                socket_path=path, projection=self.projection, handle=self.handle, clock=self.clock
            )
            await self._server.start()
            stack.push_async_callback(self._server.aclose, "the engine has ended")
            lock.announce(str(path))
        self._observer = Observer(self, tasks)
        stack.callback(self._closing.set)
        tasks.create_task(self._observe())

    def _restore(self, store: TaskStore, scheduler: Scheduler) -> None:
        stored = store.load()
        interrupted = intake.restore(
            scheduler, stored, self._begun_by_page(), self.settings.orchestration.on_interrupted
        )
        if interrupted:
            _log.warning("%d tasks were running when the last engine died", len(interrupted))

    def _begun_by_page(self) -> Callable[[Stored], bool]:
        """Tells for a leased task whether its attempt had begun, by the progress page of its worker; without one it had."""
        folder = _built(self._folder)
        pages = {path.stem: read_progress(path) for path in folder.progress.glob("*.page")}
        boot = boot_id()

        def begun(row: Stored) -> bool:
            page = pages.get(row.worker)
            # A page of another boot says nothing: it may not have reached the disk before the power went.
            return page is None or page.boot_id != boot or page.lease >= row.lease

        return begun

    async def _end_work(self, dispatcher: Dispatcher, pool: ProcessPool) -> None:
        """Cancel what still runs, let its end become durable, then stop the workers."""
        if dispatcher.scheduler.ledger.active and self._fault is None:
            self.drain()
            self.cancel_all()
            grace = self.settings.orchestration.kill_grace_seconds + _SHUTDOWN_SECONDS
            try:
                async with asyncio.timeout(grace):
                    await self.wait_idle()
            except (TimeoutError, EngineError):
                _log.warning("%d tasks did not end in time", dispatcher.scheduler.ledger.active)
        dispatcher.close()
        await pool.aclose(force=True)
        await dispatcher.settled()

    async def _record_end(self, store: TaskStore) -> None:
        summary = msgspec.structs.asdict(self.summary())
        metrics = self._observer.metrics() if self._observer else None
        if metrics is not None:
            summary["metrics"] = msgspec.structs.asdict(metrics)
        await store.runs.finish(self.run_id, self.clock.time(), summary)
        await store.runs.prune(self.settings.storage.keep_runs)

    # Glue.

    def _retry_policy(self) -> RetryPolicy:
        agents = self.settings.codex
        return RetryPolicy(agent_delay=agents.retry_delay_seconds, agent_retries=agents.max_retries)

    def _pool_size(self) -> int:
        wanted = self.settings.orchestration.max_agents
        return wanted if isinstance(wanted, int) else max(1, os.cpu_count() or 1)

    def _pool_options(self) -> PoolOptions:
        chosen = self.settings.orchestration
        return PoolOptions(
            reuse=self.settings.codex.enable_process_reuse,
            idle_seconds=chosen.worker_timeout,
            recycle_after_tasks=chosen.recycle_after_tasks,
            recycle_after_seconds=chosen.recycle_after_seconds,
            recycle_above_bytes=chosen.recycle_above_bytes,
            grace_seconds=chosen.kill_grace_seconds,
            log_max_bytes=self.settings.storage.log_max_bytes,
            preload=tuple(chosen.preload),
            min_size=chosen.min_agents,
        )

    def _with_kinds(self, tasks: Sequence[Task], agent: str | None) -> list[Task]:
        chosen = agent or self.settings.codex.default_agent
        return agents.with_kinds(tasks, None if chosen == "auto" else chosen, self._environ)

    def _done_before(self, tasks: Sequence[Task]) -> set[str]:
        """Ids of those tasks that succeeded before with the same content, read without the lock."""
        database = self._path / "state.db"
        if not database.exists():
            return set()
        stored = {row.task.id: row for row in TaskStore(Database.view(database)).load()}
        wanted = {task.id: task.digest() for task in tasks}
        return {
            task_id
            for task_id, row in stored.items()
            if row.state is State.SUCCEEDED and wanted.get(task_id, row.digest) == row.digest
        }

    def _is_idle(self) -> None:
        """Announce the end of the work, once for each end that differs, and let those go on who wait for it."""
        summary = self.summary()
        if summary != self._announced:
            self._announced = summary
            self.bus.publish(msgspec.structs.replace(summary))
        self._idle.set()

    def _failed(self, error: Exception) -> None:
        _log.critical("the state folder cannot be written any more: %s", error)
        self._fault = error
        self._idle.set()

    def _storage_trouble(self, error: str | None) -> None:
        dispatcher = _built(self._dispatcher)
        dispatcher.scheduler.trouble = error or ""
        self.bus.publish(ev.StorageTroubled(error=error or ""))
        dispatcher.wake()

    async def _make_report(self, path: str) -> dict[str, Any]:
        observer = self._observer or Observer(self, None)
        report = observer.report()
        if path:
            try:
                await observer.write(Path(path), report)
            except OSError as error:
                raise CommandRefusedError(f"the report cannot be written to {path}: {error.strerror}") from error
        return report

    def _tell_idle_workers(self) -> None:
        idle = [worker.name for worker in self.projection.workers.values() if worker.state == "idle"]
        if idle:
            reason = why_idle(_built(self._dispatcher).scheduler)
            for name in idle:
                self.projection.set_worker_note(name, reason)

    async def _observe(self) -> None:
        """Measure until the engine ends. A fault of the monitor is logged and never reaches a task."""
        observer = _built(self._observer)
        while not self._closing.is_set():
            try:
                observer.tick()
                self._tell_idle_workers()
            except Exception:  # noqa: BLE001 - an observer must not stop the work
                _log.exception("the monitor failed; it goes on with the next interval")
            try:
                async with asyncio.timeout(self.settings.monitoring.interval_seconds):
                    await self._closing.wait()
            except TimeoutError:
                continue


def _others(group: BaseExceptionGroup[BaseException], error: BaseException) -> bool:
    """Whether the group holds anything but this error."""
    return any(
        _others(inner, error) if isinstance(inner, BaseExceptionGroup) else inner is not error
        for inner in group.exceptions
    )


def _built(part: T | None) -> T:
    if part is None:
        raise EngineError("the orchestrator is not open; use it as 'async with Orchestrator(...) as orchestrator'")
    return part


@asynccontextmanager
async def orchestrator_lifecycle(
    settings: Settings | None = None, *, folder: Path | str = STATE_DIR
) -> AsyncIterator[Orchestrator]:
    """An open `Orchestrator`; settings come from the environment, ``.env`` and ``mi4.toml`` unless given."""
    async with Orchestrator(settings, folder=folder) as orchestrator:
        yield orchestrator


if __name__ == "__main__":
    from .plain import main

    sys.exit(main(sys.argv[1:]))
