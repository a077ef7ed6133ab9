"""One engine from start to end in this process: settings, task files, signals, exit status.

`run_foreground` is what ``--no-ui`` and ``python -m engine.orchestrator`` do; `engine.background` shares its parts; `reach` is how a
verb finds the engine of a folder, or its stored state when none runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec

from .config import EffectiveSetting, LoadedSettings, effective_settings, load_settings
from .errors import EngineError, Fault, SessionLostError, StateFolderError, TaskFileError, UsageError
from .events.events import Event, RunFinished, TaskFinished, TaskRetryScheduled
from .events.projection import Projection
from .orchestrator import Orchestrator
from .scheduling.explain import Planned
from .scheduling.intake import Submission
from .session import Session, attach
from .session.launch import RunRequest
from .session.lock import read_lock
from .session.log_text import printed_lines
from .session.protocol import FindLog, View, WriteReport
from .session.signals import StopSignals
from .storage.database import Database
from .storage.task_store import TaskStore
from .tasks.model import Cause, State, Task
from .tasks.taskfile import read_task_files

DEFAULT_FILE = "tasks.json"
"""The task file that is used when none is named."""
_FAILURES = (State.FAILED, State.TIMED_OUT)


def engine_error(error: BaseException) -> EngineError | None:
    """The error of ours in `error`, which may be a group that a TaskGroup made; None where there is another kind of error."""
    if isinstance(error, EngineError):
        return error
    if isinstance(error, BaseExceptionGroup):
        found = [engine_error(inner) for inner in error.exceptions]
        return found[0] if found and None not in found else None
    return None


@contextmanager
def plain_errors() -> Iterator[None]:
    """Let an `EngineError` leave as itself, not as the group that the TaskGroups of an engine make of it."""
    try:
        yield
    except BaseExceptionGroup as group:
        known = engine_error(group)
        if known is None:
            raise
        raise known from group


class Reporter(Protocol):
    """Who tells the user what happens; called on the loop, so it must not wait."""

    verbose: bool
    """Whether it wants everything that tasks print."""

    def note(self, text: str) -> None:
        """One line for people about the run itself."""
        ...

    def begins(self, projection: Projection) -> None:
        """The engine is up; `projection` is kept up to date from here on."""
        ...

    def submitted(self, submission: Submission) -> None:
        """The tasks of the files are on disk."""
        ...

    def saw(self, events: Sequence[Event]) -> None:
        """These events were published."""
        ...

    def printed(self, task_id: str, lines: Sequence[str]) -> None:
        """A task printed these (sanitised) lines; only told when `verbose`."""
        ...

    def ends(self, finished: RunFinished) -> None:
        """Everything has stopped."""
        ...


def exit_code(finished: RunFinished, *, signalled: int | None = None, trouble: bool = False) -> int:
    """The exit status of a run; the highest claim wins: signal, storage (74), held (3), failures (1)."""
    if signalled is not None:
        return signalled
    if trouble:
        return 74
    if finished.held:
        return 3
    return int(bool(finished.failed or finished.timed_out or finished.cancelled or finished.skipped))


# What is asked for


def with_default_files(request: RunRequest) -> RunRequest:
    """The request with ``tasks.json`` where no file is named and that exists.

    Raises `TaskFileError` when there is neither a file nor a state folder to resume.
    """
    if request.files:
        return request
    if (Path(request.cwd) / DEFAULT_FILE).exists():
        return msgspec.structs.replace(request, files=(DEFAULT_FILE,))
    if not Path(request.folder).is_dir():
        raise _nothing_to_run()
    return request


def command_line_settings(
    *, max_agents: str | None, no_cache: bool, on_interrupted: str | None, assignments: Sequence[str]
) -> dict[str, Any]:
    """Settings of the command line by full name; `assignments` are ``section.key=value``. Raises `UsageError`."""
    found: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or "." not in name:
            raise UsageError(f"--set {assignment}: write section.key=value, such as orchestration.max_agents=4")
        found[name.strip()] = value
    if max_agents is not None:
        found["orchestration.max_agents"] = max_agents
    if no_cache:
        found["codex.enable_caching"] = False
    if on_interrupted is not None:
        found["orchestration.on_interrupted"] = on_interrupted
    return found


def read_settings(request: RunRequest) -> LoadedSettings:
    """The settings that a run of this request has; raises `SettingsError`."""
    config_file = Path(request.config_file) if request.config_file else None
    return load_settings(overrides=request.overrides, config_file=config_file, cwd=Path(request.cwd))


def describe_settings(request: RunRequest) -> tuple[list[EffectiveSetting], list[str]]:
    """Every setting as a run of this request has it, and warnings; raises `SettingsError`."""
    loaded = read_settings(request)
    return effective_settings(loaded), loaded.warnings


def read_tasks(
    request: RunRequest, known: Collection[str] | Callable[[], Collection[str]] = ()
) -> tuple[tuple[Task, ...], tuple[str, ...]]:
    """The tasks of the request's files, and warnings; `known` are ids that dependencies may name as well. Raises `TaskFileError`."""
    if not request.files:
        return (), ()
    read = read_task_files([Path(file) for file in request.files], cwd=Path(request.cwd), known=known)
    return read.tasks, read.warnings


def _nothing_to_run() -> TaskFileError:
    text = "no such file, and nothing to resume here; name a task file, or try 'mi4-tui demo'"
    return TaskFileError([Fault(DEFAULT_FILE, None, text)])


@dataclass
class Prepared:
    """What is known before an engine exists."""

    loaded: LoadedSettings
    tasks: tuple[Task, ...]
    warnings: tuple[str, ...]
    """One line each."""


def prepare(request: RunRequest) -> Prepared:
    """Settings and files, checked before anything is created; raises what is wrong with them."""
    loaded = read_settings(request)
    parent = (Path(request.cwd) / request.report).parent
    if request.report and not parent.is_dir():
        raise UsageError(f"--report {request.report}: the folder {parent} does not exist")
    tasks, warnings = read_tasks(request, known=lambda: stored_ids(Path(request.folder)))
    return Prepared(loaded, tasks, (*loaded.warnings, *warnings))


def stored_ids(folder: Path) -> Collection[str]:
    """The ids that the state folder holds, read without its lock; none where it does not exist."""
    database = folder / "state.db"
    if not database.exists():
        return ()
    return {row.task.id for row in TaskStore(Database.view(database)).load()}


@asynccontextmanager
async def engine_at_work(
    request: RunRequest, prepared: Prepared, signals: StopSignals, reporter: Reporter | None = None
) -> AsyncIterator[tuple[Orchestrator, Submission]]:
    """An engine that holds the folder and has the tasks of the request."""
    orchestrator = Orchestrator(prepared.loaded.settings, folder=Path(request.folder))
    if reporter is not None:
        orchestrator.bus.listen(reporter.saw, name="reporter")
    async with orchestrator:
        if reporter is not None:
            reporter.begins(orchestrator.projection)
        if not request.files and not orchestrator.projection.rows:
            raise _nothing_to_run()
        signals.aim_at(orchestrator)
        yield orchestrator, await orchestrator.submit(prepared.tasks, agent=request.agent or None, rerun=request.rerun)


def plan_run(request: RunRequest) -> list[Planned]:
    """What a run of the request's files would start, in that order; nothing is run or written. Raises as `run_foreground`."""
    request = with_default_files(request)
    if not request.files:
        raise UsageError("--dry-run needs a task file, such as 'mi4-tui tasks.json --dry-run'")
    loaded = read_settings(request)
    tasks, _ = read_tasks(request, known=lambda: stored_ids(Path(request.folder)))
    return Orchestrator(loaded.settings, folder=Path(request.folder)).plan(tasks, agent=request.agent or None)


@dataclass(frozen=True)
class Reached:
    """What answers for a state folder."""

    session: Session
    live: bool
    """Whether an engine works there; else `session` is over the stored state, and nothing runs."""


@asynccontextmanager
async def reach(
    request: RunRequest, *, view: View | None = None, stored: bool = True, create: bool = False
) -> AsyncIterator[Reached]:
    """The engine that works on the folder, or with `stored` its state under the lock when none does.

    `view` is what to follow of a running engine (None: commands only). Raises `SessionLostError` where there is no engine and
    `stored` is false, `StateFolderError` where there is no folder either (with `create` it is made).
    """
    folder = Path(request.folder)
    exists = folder.is_dir()  # noqa: ASYNC240 - one look before anything runs
    if not exists and not stored:
        raise _no_engine()
    if not exists and not create:
        raise StateFolderError(f"nothing has run here yet: {folder} does not exist; start with 'mi4-tui FILE'", folder)
    try:
        if not exists:
            raise SessionLostError
        client = await attach(folder, view)
    except SessionLostError:
        if not stored and read_lock(folder) is None:
            raise _no_engine() from None
        if not stored:
            raise
    else:
        try:
            yield Reached(client, live=True)
        finally:
            await client.aclose()
        return
    with plain_errors():
        async with Orchestrator(
            read_settings(request).settings, folder=folder, work=False, serve=False
        ) as orchestrator:
            yield Reached(orchestrator.session, live=False)


def _no_engine() -> SessionLostError:
    return SessionLostError("no engine works on this folder; start one with 'mi4-tui FILE'")


# In the foreground


async def run_foreground(request: RunRequest, reporter: Reporter) -> int:
    """Work until nothing is left to run, telling `reporter`; returns the exit status.

    Raises the `EngineError` that keeps it from starting: settings, task files, a missing agent, the state folder, another engine.
    """
    signals = StopSignals(reporter.note)
    with signals.installed(), plain_errors():
        request = with_default_files(request)
        prepared = prepare(request)
        for warning in prepared.warnings:
            reporter.note(warning)
        finished, trouble = await _work_to_the_end(request, prepared, signals, reporter)
        reporter.ends(finished)
    return exit_code(finished, signalled=signals.code, trouble=trouble)


async def _work_to_the_end(
    request: RunRequest, prepared: Prepared, signals: StopSignals, reporter: Reporter
) -> tuple[RunFinished, bool]:
    """How the run ended, and whether something could not be written."""
    async with engine_at_work(request, prepared, signals, reporter) as (orchestrator, submission):
        reporter.submitted(submission)
        if request.fail_fast:
            orchestrator.bus.listen(_FailFast(orchestrator).saw, name="fail fast")
        async with _OutputFeed(orchestrator, reporter).running():
            finished = await orchestrator.wait_idle()
        reported = await write_report(orchestrator, request, reporter.note)
        return finished, bool(orchestrator.projection.run.trouble) or not reported


class _FailFast:
    """Cancels what is open once a task has failed for good. State: whether it has."""

    def __init__(self, orchestrator: Orchestrator) -> None:
        self._orchestrator = orchestrator
        self._done = False

    def saw(self, events: Sequence[Event]) -> None:
        """Look for a failure."""
        if not self._done and any(isinstance(event, TaskFinished) and event.state in _FAILURES for event in events):
            self._done = True
            self._orchestrator.cancel_all(cause=Cause.FAIL_FAST)


class _OutputFeed:
    """Passes on all that tasks print, attempt by attempt as each ends.

    State: the attempts that ended and were not passed on yet, owned by this object; None is the end.
    """

    def __init__(self, orchestrator: Orchestrator, reporter: Reporter) -> None:
        self._orchestrator = orchestrator
        self._reporter = reporter
        self._ended: asyncio.Queue[tuple[str, int] | None] = asyncio.Queue()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Pass on what ends meanwhile, and finish with it before leaving; nothing where the reporter does not want it."""
        if not self._reporter.verbose:
            yield
            return
        forget = self._orchestrator.bus.listen(self._saw, name="output feed")
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pass_on())
            try:
                yield
            finally:
                forget()
                self._ended.put_nowait(None)

    def _saw(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, TaskFinished | TaskRetryScheduled) and event.attempt:
                self._ended.put_nowait((event.task_id, event.attempt))

    async def _pass_on(self) -> None:
        while (ended := await self._ended.get()) is not None:
            task_id, attempt = ended
            try:
                reply = await self._orchestrator.handle(FindLog(id=task_id, attempt=attempt))
                async for lines in printed_lines(reply):
                    self._reporter.printed(task_id, lines)
            except (EngineError, OSError) as error:  # the log is gone: the rest of the run is not
                self._reporter.note(f"the output of {task_id} cannot be read: {error}")


async def write_report(orchestrator: Orchestrator, request: RunRequest, note: Callable[[str], None]) -> bool:
    """Whether the report that was asked for, if any, is on disk."""
    if not request.report:
        return True
    try:
        reply = await orchestrator.handle(WriteReport(path=str(Path(request.cwd) / request.report)))
    except EngineError as error:
        note(str(error))
        return False
    note(reply.message)
    return True
