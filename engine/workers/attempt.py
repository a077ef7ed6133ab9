"""One attempt from start to result: its job, its output, its time limits, what it leaves behind, its ``verify`` command.

The host calls `begin` once, then `handle` for each descriptor that has news and `tick` after every poll, until `result` is there.

A little longer than other modules, because limits, leftovers and ``verify`` are all about the one job under way.
"""

from __future__ import annotations

import fcntl
import select
from enum import StrEnum

import msgspec

from ..streaming.sanitiser import one_line
from ..streaming.sink import OutputSink
from ..streaming.summary import EMPTY
from ..tasks.model import AttemptResult, Cause, OutputSummary
from . import ladder
from .protocol import Work
from .runners.environment import fault_in_set_env, task_environment
from .runners.job import Job, Outcome, start_failed
from .runners.python_job import CallBatch, PythonJob
from .runners.shell import command_line, start_command
from .runners.simulated import start_simulated
from .sweep import sweep
from .workshop import Workshop, clean_value, stream_redactor

CHUNK = 64 * 1024
_READS_PER_TURN = 16
_PIPE_BYTES = 1024 * 1024
_F_SETPIPE_SZ = 1031
SUMMARY_LINES = 10
SUMMARY_SECONDS = 0.5
SUMMARY_INTERVAL = 0.1
"""Seconds between two summaries at least."""
LOOK_SECONDS = 0.010
"""After so long an attempt that is under way is watched, and said to have started."""
_QUIET_SECONDS = 0.05
_DRAIN_SECONDS = 1.0
"""What a task leaves running may print for so long after its end, while it is not quiet for `_QUIET_SECONDS`; then it is ended."""


class StopReason(StrEnum):
    """Why an attempt is ended from outside."""

    CANCEL = "cancel"
    TIMEOUT = "timeout"
    STALL = "stall"


class Attempt:
    """State: the job under way, deadlines, what was printed; the owner is the host."""

    def __init__(self, work: Work, shop: Workshop, *, warm: bool, calls: CallBatch | Outcome | None = None) -> None:
        """`calls`: the batch that `work` is the current call of, for calls, or why there is none."""
        self.work = work
        self.calls = calls if isinstance(calls, CallBatch) else None
        self.result: AttemptResult | None = None
        now = shop.clock.monotonic()
        began = self.calls.began() if self.calls is not None else None
        self.began = now if began is None else began
        self.started_at = shop.clock.time() - (now - self.began)
        self._refused = calls if isinstance(calls, Outcome) else None
        self._shop = shop
        self._warm = warm
        self._redactor = stream_redactor(shop.secrets, work.set_env)
        self._sink: OutputSink | None = None  # made with the first byte: many calls print nothing
        self._job: Job | None = None
        self._watching: frozenset[int] = frozenset()
        self._output = -1
        self._wide = False
        self._verifying = False
        self._done: Outcome | None = None  # of the work itself, while verify runs
        self._ended: Outcome | None = None  # of the job whose leftovers are drained
        self._stop: StopReason | None = None
        self._kill_at: float | None = None
        self._drain_until = 0.0
        self._printed_at = self.began
        self._unsent_since: float | None = None
        self._sent_lines = 0
        self._sent_at = self.began

    def begin(self) -> None:
        """Start the work; a start that fails is a result."""
        self._adopt(self._start())
        if self.calls is not None and self.calls.answered:
            self._step()

    def handle(self, fd: int) -> None:
        """A descriptor of ours is readable or hung up."""
        if self.result is not None:
            return
        if fd == self._output:
            self._read(_READS_PER_TURN)
            if self.calls is not None and self._ended is None:
                self._step()
        elif fd in self._watching and self._ended is None:
            self._step()

    def tick(self) -> None:
        """Do what time asks for."""
        now = self._shop.clock.monotonic()
        if self._ended is not None:
            self._tick_leftovers(now)
            return
        job = self._job
        if job is None:
            return
        due = job.due()
        if due is not None and now >= due:
            self._step()
        elif not job.live and now >= self.began + LOOK_SECONDS:
            self.look()
        if self.result is None and self._ended is None:
            self._check_limits(now)

    def due(self) -> float:
        """Monotonic time of the next `tick` that is needed; infinity when none is."""
        if self._ended is not None:
            return min(self._drain_until, self._printed_at + _QUIET_SECONDS)
        job = self._job
        moments = [job.due() if job is not None else None, self._kill_at, *self._limits()]
        if job is not None and not job.live:
            moments.append(self.began + LOOK_SECONDS)
        return min((moment for moment in moments if moment is not None), default=float("inf"))

    def summary_due(self) -> float | None:
        """Monotonic time at which the next summary should go out; None when nothing new was printed."""
        if self._unsent_since is None:
            return None
        soonest = self._sent_at + SUMMARY_INTERVAL
        if self._sink is not None and self._sink.lines - self._sent_lines >= SUMMARY_LINES:
            return soonest
        return max(soonest, self._unsent_since + SUMMARY_SECONDS)

    def take_summary(self) -> OutputSummary:
        """What was printed so far; counts as sent."""
        self._unsent_since = None
        self._sent_at = self._shop.clock.monotonic()
        if self._sink is None:
            return EMPTY
        self._sent_lines = self._sink.lines
        return self._sink.snapshot()

    def look(self) -> None:
        """See where the job is now, and watch it from now on."""
        if self._job is not None and self._ended is None:
            outcome = self._job.look(self._shop.clock.monotonic())
            self._news(outcome)
            if outcome is None and self._output >= 0:
                self._read(_READS_PER_TURN)

    def has_begun(self) -> bool:
        """Whether it has had an effect."""
        return self._job is None or self._job.has_begun()

    def hold(self) -> None:
        """What stands behind it in the same process must not begin."""
        if self._job is not None and self._ended is None:
            self._job.hold()

    def abandon(self) -> None:
        """Its call was given back before it began: let go of it without a result."""
        self._job, self._output = None, -1
        self._watch()

    def stop(self, reason: StopReason, *, force: bool = False) -> None:
        """End the attempt by the ladder; with `force` by KILL at once. A result that came first wins."""
        self.hold()
        if self.calls is not None and self.work in self.calls.unbegun:
            return
        if self.result is None and self._ended is None:
            self._step()
        if self.result is not None or self._job is None:
            return
        if self._ended is not None:
            self._drain_until = 0.0
            return
        aborted = self._job.abort()
        self._stop = self._stop or reason
        if aborted is not None:
            self._job_ended(aborted)
        elif force:
            self._kill()
        elif self._kill_at is None:
            ladder.terminate(self._job.group)
            self._kill_at = self._shop.clock.monotonic() + self._shop.grace_seconds

    @property
    def group(self) -> int:
        """Process group of the job; 0 when there is none."""
        return self._job.group if self._job is not None else 0

    # Starting.

    def _start(self) -> Job | Outcome:
        work = self.work
        if self._refused is not None:
            return self._refused
        fault = fault_in_set_env(work.set_env)
        if fault:
            return start_failed(fault)
        if work.kind == "shell":
            return self._start_command(command_line(work.command, shell=work.shell), work.stdin)
        if self.calls is not None:
            return PythonJob(self.calls, work)
        if work.kind == "simulated":
            return start_simulated(work, self._take, self.began)
        return start_failed(f"this version cannot run tasks of kind {work.kind!r}")

    def _start_command(self, argv: tuple[str, ...], stdin: str | None) -> Job | Outcome:
        shop = self._shop
        environment = task_environment(shop.base, self.work, shop.run_id)
        cwd = self.work.cwd or shop.home
        return start_command(argv, cwd=cwd, environment=environment, stdin=stdin, paths=shop.paths)

    def _adopt(self, started: Job | Outcome) -> None:
        if isinstance(started, Outcome):
            self._settle(started)
            return
        self._job = started
        self._output = started.output
        self._watch()

    def _watch(self) -> None:
        """Poll exactly the descriptors that the job has now."""
        wanted: set[int] = set()
        if self._job is not None:
            if self._ended is None:
                wanted.update(self._job.watched)
            if self._output >= 0 and self._job.live:
                wanted.add(self._output)
        if wanted == self._watching:
            return
        for fd in self._watching - wanted:
            self._shop.poll.unregister(fd)
        for fd in wanted - self._watching:
            self._shop.poll.register(fd, select.POLLIN)
        self._watching = frozenset(wanted)

    # While it runs.

    def _step(self) -> None:
        job = self._job
        if job is None:
            return
        self._news(job.ready(self._shop.clock.monotonic()))

    def _news(self, outcome: Outcome | None) -> None:
        if outcome is not None:
            self._job_ended(outcome)
        elif self._job is not None:
            self._watch()

    def _read(self, turns: int) -> None:
        """Take what the pipe holds, at most `turns` chunks; stop looking at a pipe that ended."""
        job = self._job
        if job is None:
            return
        for _ in range(turns):
            try:
                chunk = job.read(CHUNK)
            except BlockingIOError:
                return
            if not chunk:
                self._output = -1
                self._watch()
                return
            self._take(chunk)
            if len(chunk) < CHUNK and self._ended is None:
                return
            if not self._wide:
                self._widen()

    def _widen(self) -> None:
        """A bigger pipe for a task that prints a lot, where the user's quota allows it."""
        self._wide = True
        try:
            fcntl.fcntl(self._output, _F_SETPIPE_SZ, _PIPE_BYTES)
        except OSError:
            return

    def _take(self, chunk: bytes) -> None:
        self._printed_at = self._shop.clock.monotonic()
        if self._unsent_since is None:
            self._unsent_since = self._printed_at
        if self._sink is None:
            name = self.work.log or f"{self.work.key}-{self.work.attempt}.log"
            self._sink = OutputSink(self._shop.logs, name, self._shop.log_max_bytes, self._redactor)
        self._sink.write(chunk)

    def _limits(self) -> tuple[float | None, float | None]:
        """When time-out and stall time-out strike; None for those that do not exist or do not matter any more."""
        work = self.work
        if self._stop is not None:
            return None, None
        return (
            None if work.timeout is None else self.began + work.timeout,
            None if work.stall is None else self._printed_at + work.stall,
        )

    def _check_limits(self, now: float) -> None:
        timeout_at, stall_at = self._limits()
        if timeout_at is not None and now >= timeout_at:
            self.stop(StopReason.TIMEOUT)
        elif stall_at is not None and now >= stall_at:
            self.stop(StopReason.STALL)
        elif self._kill_at is not None and now >= self._kill_at:
            self._kill()

    def _kill(self) -> None:
        self._kill_at = None
        if self._job is not None:
            ladder.kill(self._job.group)

    # Its end.

    def _job_ended(self, outcome: Outcome) -> None:
        """The leader is gone: take the rest of the output; processes that it left get a moment to finish theirs."""
        self._ended = outcome
        if self._output >= 0:
            self._read(_READS_PER_TURN)
        known = self._shop.python.known  # a warm child that lives on has looked for leftovers itself
        if self.group and self.group not in known and ladder.anything_left(known):
            self._printed_at = now = self._shop.clock.monotonic()
            self._drain_until = now + _DRAIN_SECONDS
            self._watch()
        else:
            self._close_job()

    def _tick_leftovers(self, now: float) -> None:
        known = self._shop.python.known
        if self._output >= 0 and now < self.due() and ladder.anything_left(known):
            return
        sweep(known)
        self._close_job()

    def _close_job(self) -> None:
        """Nothing can print any more: read to the end, close, and go on to `verify` or to the result."""
        outcome, job = self._ended, self._job
        if outcome is None or job is None:
            return
        if self._output >= 0:
            self._read(2 * _PIPE_BYTES // CHUNK)
        self._job, self._ended, self._output = None, None, -1
        self._watch()
        job.close()
        self._settle(outcome)

    def _settle(self, outcome: Outcome) -> None:
        """`outcome` is of the work, or of ``verify``."""
        if self._stop is not None:
            outcome = self._stopped(outcome)
        elif self._verifying:
            outcome = self._verified(outcome)
        elif outcome.outcome == "succeeded" and self.work.verify:
            self._verifying, self._done = True, outcome
            self._adopt(self._start_command(command_line(self.work.verify, shell=True), None))
            return
        self._finish(outcome)

    def _verified(self, outcome: Outcome) -> Outcome:
        done = msgspec.structs.replace(self._done or outcome, began=None, ended=None)
        if outcome.outcome == "succeeded":
            return done
        return msgspec.structs.replace(
            done,
            outcome="failed",
            cause=Cause.VERIFY_FAILED.value,
            error=f"verify: {outcome.error}",
            retryable=outcome.retryable,
        )

    def _stopped(self, outcome: Outcome) -> Outcome:
        """The outcome of an attempt that was ended from outside."""
        base = msgspec.structs.replace(outcome, cause="", error="", retryable=True, value=None)
        if self._stop is StopReason.TIMEOUT:
            error = f"not done after {self.work.timeout:g} s (timeout_seconds)"
            return msgspec.structs.replace(base, outcome="timed_out", error=error)
        if self._stop is StopReason.STALL:
            error = f"nothing printed for {self.work.stall:g} s (stall_seconds)"
            return msgspec.structs.replace(base, outcome="timed_out", cause=Cause.STALLED.value, error=error)
        return msgspec.structs.replace(base, outcome="cancelled")

    def _finish(self, outcome: Outcome) -> None:
        ended = outcome.ended if outcome.ended is not None else self._shop.clock.monotonic()
        began = outcome.began if outcome.began is not None else self.began
        summary, output, log = self._sink.close() if self._sink is not None else (EMPTY, b"", "")
        error = outcome.error
        if (
            error
            and summary.last_line
            and (self._verifying or self.work.kind == "shell")
            and not outcome.cause.startswith("start")
        ):
            error = f"{error}: {summary.last_line}" if self._stop is None else error
        self.result = AttemptResult(
            key=self.work.key,
            attempt=self.work.attempt,
            outcome=outcome.outcome,
            cause=outcome.cause,
            error=one_line(self._redactor.clean_text(error)) if error else "",
            retryable=outcome.retryable,
            exit_code=outcome.exit_code,
            started_at=self.started_at + (began - self.began),
            duration=max(0.0, ended - began),
            value=clean_value(outcome.value, self._redactor),
            summary=summary,
            output=output,
            log=log,
            tokens=outcome.tokens,
            warm=self._warm,
        )
