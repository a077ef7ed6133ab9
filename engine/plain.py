"""Lines and JSON: the reporters that need no terminal, and the command line of ``python -m engine.orchestrator``.

stdout carries results, stderr carries progress. Texts that come from tasks are sanitised; in JSON every character that is not plain
ASCII is escaped, so that a line is safe to show and exact to read.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

import msgspec

from .errors import EngineError
from .events.events import (
    Event,
    OutputSummarised,
    RunFinished,
    TaskAdded,
    TaskFinished,
    TaskRequeued,
    TaskRetryScheduled,
    TaskStarted,
    WorkerBroken,
)
from .events.projection import Projection
from .foreground import command_line_settings, engine_error, plan_run, run_foreground
from .scheduling.explain import Planned
from .scheduling.intake import Submission
from .session.launch import RunRequest
from .streaming.sanitiser import sanitise
from .tasks.model import State, Task

TAIL_LINES = 10
"""How many last lines of a failed task are shown."""
_FAILED = (State.FAILED, State.TIMED_OUT)
Write = Callable[[str], None]
"""Takes one line without its end."""


class Outlet:
    """A stream that may vanish: a reader that left is no error, a full disk is kept in mind.

    State, owned by this object: whether the stream still takes anything, and what went wrong.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._gone = False
        self.trouble = ""
        """Why what was written is not complete, if it was not the reader's own wish."""
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")

    def __call__(self, line: str) -> None:
        """Write one line and its end."""
        if self._gone:
            return
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError) as error:
            self._lose(error)

    def _lose(self, error: OSError | ValueError) -> None:
        self._gone = True
        number = error.errno if isinstance(error, OSError) else None
        if number not in (errno.EPIPE, errno.EIO, None):
            self.trouble = f"cannot write the output: {error.strerror if isinstance(error, OSError) else error}"
        # What is still buffered would raise once more when the interpreter ends: let it go nowhere.
        with suppress(OSError, ValueError):
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, self._stream.fileno())
            os.close(nothing)


def seconds(value: float) -> str:
    """A duration as people read it: ``0.42 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if value < 60:
        return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def summary_line(finished: RunFinished) -> str:
    """The whole run in one line; what is zero is left out."""
    cached = f" ({finished.cached} cached)" if finished.cached else ""
    parts = [f"{finished.succeeded} succeeded{cached}"] if finished.succeeded else []
    named = ("failed", "timed_out", "cancelled", "skipped", "not_needed", "held", "already_done")
    parts += [f"{getattr(finished, name)} {name.replace('_', ' ')}" for name in named if getattr(finished, name)]
    return f"{', '.join(parts) or 'nothing to do'}; {seconds(finished.duration_s)}"


def finished_line(event: TaskFinished) -> str:
    """How one task ended."""
    word = "cached" if event.cached else event.state
    line = f"{word:<10} {sanitise(event.task_id)}  {seconds(event.duration_s)}"
    why = event.error or (event.cause.replace("_", " ") if event.state != State.SUCCEEDED else "")
    attempt = f" (attempt {event.attempt})" if event.attempt > 1 else ""
    return f"{line}{attempt}  {sanitise(why)}".rstrip()


# Reporters


class PlainReporter:
    """Tells of a run in lines: `write` takes results, `tell` takes progress.

    With `quiet` only what failed and the summary are said; with `verbose` also starts and all that tasks print. `greeting` is a note
    that is said once the engine is up.
    """

    def __init__(
        self, write: Write, tell: Write, *, quiet: bool = False, verbose: bool = False, greeting: str = ""
    ) -> None:
        self._write = write
        self._tell = tell
        self._quiet = quiet
        self._greeting = greeting
        self.verbose = verbose

    def note(self, text: str) -> None:
        """A line about the run itself."""
        if not self._quiet:
            self._tell(f"mi4-tui: {sanitise(text)}")

    def begins(self, projection: Projection) -> None:  # noqa: ARG002 - for reporters that count
        """The engine is up."""
        if self._greeting:
            self.note(self._greeting)

    def submitted(self, submission: Submission) -> None:
        """How many tasks were taken, and which were done before."""
        for task_id in submission.already_done:
            self._result(f"{'already_done':<10} {sanitise(task_id)}")
        self._tell_submission(submission)

    def saw(self, events: Sequence[Event]) -> None:
        """A line for each event that people want to know of."""
        for event in events:
            self._tell_progress(event)
            if isinstance(event, TaskFinished) and (not self._quiet or event.state in _FAILED):
                self._write(finished_line(event))

    def printed(self, task_id: str, lines: Sequence[str]) -> None:
        """The lines, each behind the name of its task."""
        if lines:
            name = sanitise(task_id)
            self._tell("\n".join(f"{name} | {line}" for line in lines))

    def ends(self, finished: RunFinished) -> None:
        """The summary."""
        self._write(summary_line(finished))

    def _tell_submission(self, submission: Submission) -> None:
        if submission.accepted:
            count = len(submission.accepted)
            self.note(f"{count} task{'s' if count != 1 else ''} accepted")
        if submission.already_open:
            self.note(f"{len(submission.already_open)} of them open already")
        for task_id, why in submission.refused.items():
            self.note(f"{task_id} was not changed: {why}")

    def _result(self, line: str) -> None:
        if not self._quiet:
            self._write(line)

    def _tell_progress(self, event: Event) -> None:
        line = self._progress_line(event)
        if line and not self._quiet:
            self._tell(line)
        if isinstance(event, TaskFinished) and event.state in _FAILED and not self.verbose:
            self._tell_tail(event)

    def _tell_tail(self, event: TaskFinished) -> None:
        tail = event.summary.tail[-TAIL_LINES:] if event.summary else ()
        for line in tail:
            self._tell(f"  {sanitise(event.task_id)} | {sanitise(line)}")

    def _progress_line(self, event: Event) -> str:
        if isinstance(event, TaskRetryScheduled):
            again = f"again in {seconds(event.delay_s)}, {event.retries_left} left"
            return f"retrying   {sanitise(event.task_id)}  {sanitise(event.error)}; {again}"
        if isinstance(event, TaskRequeued):
            return f"requeued   {sanitise(event.task_id)}  {sanitise(event.error)}"
        if isinstance(event, WorkerBroken):
            return f"mi4-tui: worker {event.worker} is broken: {sanitise(event.reason)}"
        if self.verbose and isinstance(event, TaskStarted):
            return f"started    {sanitise(event.task_id)}  on {event.worker}"
        return ""


class JsonReporter(PlainReporter):
    """Tells of a run in JSON lines; progress for people still goes to `tell`. State: the stamp of the last event."""

    def __init__(self, write: Write, tell: Write, *, quiet: bool = False, verbose: bool = False) -> None:
        super().__init__(write, tell, quiet=quiet, verbose=verbose)
        self._seq = 0
        self._time = 0.0

    def submitted(self, submission: Submission) -> None:
        """One line for each task that stays done."""
        for task_id in submission.already_done:
            stamp = {"seq": self._seq, "time": self._time, "event": "task_already_done", "task_id": task_id}
            self._write(dump(stamp))
        self._tell_submission(submission)

    def saw(self, events: Sequence[Event]) -> None:
        """One line for each event, but for the end of the run, which comes last."""
        lines = []
        for event in events:
            self._seq, self._time = event.seq, event.time
            self._tell_progress(event)
            if not isinstance(event, RunFinished):
                lines.append(dump(event_record(event)))
        if lines:
            self._write("\n".join(lines))

    def ends(self, finished: RunFinished) -> None:
        """The last line."""
        stamped = msgspec.structs.replace(finished, seq=finished.seq or self._seq + 1, time=finished.time or self._time)
        self._write(dump(event_record(stamped)))

    def _progress_line(self, event: Event) -> str:
        return super()._progress_line(event) if isinstance(event, WorkerBroken) else ""


def dump(record: Any) -> str:
    """One line of JSON in plain ASCII."""
    return json.dumps(record, separators=(",", ":"), default=str)


def event_record(event: Event) -> dict[str, Any]:
    """The event as its JSON line has it: `seq`, `time`, `event`, `task_id`, then what the kind of event adds."""
    fields: dict[str, Any] = msgspec.to_builtins(event)
    record = {name: fields.pop(name) for name in ("seq", "time", "event", "task_id") if name in fields}
    fields.pop("key", None)
    summary = fields.pop("summary", None)
    if isinstance(event, TaskAdded):
        fields["task"] = _task_record(event.task)
    if isinstance(event, OutputSummarised) and summary:
        fields.update({name: value for name, value in summary.items() if name != "tail"})
    tokens = getattr(event, "tokens", None)
    if tokens is not None:
        fields["tokens"] = {**fields["tokens"], "total": tokens.total}
    return record | fields


def _task_record(task: Task) -> dict[str, Any]:
    """What a reader may want to know of a task; values of its environment and its prompt stay where they are."""
    names = ("title", "kind", "category", "priority", "dependencies", "tags")
    return {name: getattr(task, name) for name in names}


def plan_lines(planned: Iterable[Planned], *, as_json: bool) -> Iterable[str]:
    """The lines of ``--dry-run``."""
    for position, entry in enumerate(planned, start=1):
        if as_json:
            yield dump(plan_record(entry))
        else:
            yield _plan_line(position, entry)


def plan_record(entry: Planned) -> dict[str, Any]:
    """One planned task as ``--dry-run --json`` has it."""
    return {
        "id": entry.id,
        "score": entry.score,
        "terms": {name: value or 0.0 for name, value in msgspec.to_builtins(entry.terms).items()},  # never -0.0
        "waits_for": list(entry.waits_for),
        "reason": entry.reason,
    }


def _plan_line(position: int, entry: Planned) -> str:
    terms = msgspec.to_builtins(entry.terms)
    sum_of = " ".join(f"{name} {value:+.1f}" for name, value in terms.items() if value)
    waits = f"  waits for {', '.join(map(sanitise, entry.waits_for))}" if entry.waits_for else ""
    reason = f"  {sanitise(entry.reason)}" if entry.reason and not waits else ""
    return f"{position:>4}  {entry.score:>7.1f}  {sanitise(entry.id)}  [{sum_of}]{waits}{reason}"


# The command line of python -m engine.orchestrator


def error_lines(error: EngineError, *, prefix: str = "mi4-tui") -> list[str]:
    """The error as its user sees it: a line for each thing that is wrong."""
    return [f"{prefix}: {sanitise(line)}" for line in str(error).splitlines() or ["unknown error"]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run task files with lines or JSON; returns the exit status."""
    options = _parser().parse_args(arguments)
    write, tell = Outlet(sys.stdout), Outlet(sys.stderr)
    try:
        code = _run(options, write, tell)
    except KeyboardInterrupt:
        return 130
    except (EngineError, BaseExceptionGroup) as error:
        known = engine_error(error)
        if known is None:
            raise
        if options.verbose:
            tell(traceback.format_exc())
        for line in error_lines(known, prefix="engine"):
            tell(line)
        return known.exit_code
    if write.trouble:
        tell(f"engine: {write.trouble}")
        return max(code, 74)
    return code


def _run(options: argparse.Namespace, write: Write, tell: Write) -> int:
    request = _request(options)
    if options.dry_run:
        for line in plan_lines(plan_run(request), as_json=options.json):
            write(line)
        return 0
    reporter = (JsonReporter if options.json else PlainReporter)(
        write, tell, quiet=options.quiet, verbose=options.verbose
    )
    return asyncio.run(run_foreground(request, reporter))


def _request(options: argparse.Namespace) -> RunRequest:
    cwd = Path.cwd()
    return RunRequest(
        folder=str(cwd / options.state_dir),
        cwd=str(cwd),
        files=tuple(options.files),
        agent=options.agent,
        rerun=options.rerun,
        fail_fast=options.fail_fast,
        report=options.report,
        config_file=options.config,
        overrides=command_line_settings(
            max_agents=options.max_agents,
            no_cache=options.no_cache,
            on_interrupted=options.on_interrupted,
            assignments=options.assignments,
        ),
    )


class _Parser(argparse.ArgumentParser):
    """An argument parser whose complaint is one line and exit status 64."""

    def error(self, message: str) -> Any:
        """Say what is wrong and leave."""
        self.exit(64, f"engine: {message}; see --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m engine.orchestrator", description="Run task files until nothing is left to run.")
    add = parser.add_argument
    add("files", nargs="*", metavar="FILE", help="task files (default: tasks.json, else what .mi4 holds)")
    add("--json", action="store_true", help="one JSON object a line on stdout")
    add("--dry-run", action="store_true", help="print the order and the scores, run nothing")
    add("-j", "--max-agents", metavar="N", help="number of workers, or auto")
    add("--agent", default="", help="who runs tasks without a kind")
    add("--report", default="", metavar="PATH", help="write the JSON report here at the end")
    add("--state-dir", default=".mi4", metavar="DIR", help="where the state is kept (default: .mi4)")
    add("--config", default="", metavar="FILE", help="settings file instead of mi4.toml")
    add("--set", dest="assignments", action="append", default=[], metavar="SECTION.KEY=VALUE", help="change a setting")
    add("--no-cache", action="store_true", help="use no stored results")
    add("--rerun", action="store_true", help="run tasks again that already succeeded")
    add("--fail-fast", action="store_true", help="cancel the rest once a task failed")
    add("--on-interrupted", choices=("hold", "requeue", "fail"), help="tasks that ran when an engine died")
    add("-q", "--quiet", action="store_true", help="only failures and the summary")
    add("-v", "--verbose", action="store_true", help="everything that tasks print, and tracebacks")
    return parser
