"""A worker host: the main loop of one small process that runs one task at a time and never runs user code itself.

One thread, one `poll`: the engine's socket, the output and the exit of the task under way, and the clock. Before each start it
looks at the socket, so that a recall, a cancel or the end of the engine is never late by a whole queue. When the engine is gone
the host ends everything below it and leaves.

Longer than other modules: the loop, what the engine says and what is said to it share one state, and every line of it is paid for with each task.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import traceback
from collections import deque
from pathlib import Path
from types import FrameType
from typing import NoReturn

import msgspec

from ..clock import SYSTEM_CLOCK, Clock
from ..errors import ProtocolError
from ..streaming.redaction import secret_values
from ..tasks.model import AttemptResult, Cause
from . import ladder
from .attempt import LOOK_SECONDS, Attempt, StopReason
from .progress import ProgressPage
from .protocol import (
    VERSION,
    Cancel,
    FrameSplitter,
    FromHost,
    Hello,
    Output,
    Ping,
    Pong,
    Recall,
    Recalled,
    Results,
    Run,
    Started,
    Stop,
    ToHost,
    Work,
    decode_to_host,
    encode,
)
from .runners.environment import encode_environment
from .runners.job import Outcome
from .runners.python import BATCH, PythonRunner, can_wait, may_share
from .runners.python_job import CallBatch
from .runners.shell import ProgramPaths
from .runners.slate import Reply
from .sweep import become_subreaper, descendants, sweep
from .workshop import Workshop, clean_value, stream_redactor

_RECEIVE = 256 * 1024
_COALESCE_SECONDS = 0.010
_COALESCE_RESULTS = 32
_OUT_LIMIT = 1024 * 1024
"""Bytes that wait for the engine before summaries are left out."""
_TERM_SECONDS = 0.4
"""What a task gets between TERM and KILL when the engine is gone; the zygote ends hosts that need more than 1.2 s."""
_LAST_WORDS_SECONDS = 2.0
_EXIT_PROTOCOL = 70
_GONE = select.POLLHUP | select.POLLERR | select.POLLNVAL | getattr(select, "POLLRDHUP", 0)


class HostOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a host is told at its start."""

    run_id: str
    grace_seconds: float = 5.0
    """Between TERM and KILL."""
    log_max_bytes: int = 64 * 1024 * 1024
    """Cap of the log of one attempt."""


class _EngineGoneError(Exception):
    """The engine is gone, or we were told to go: end the task and leave."""


def host_main(
    sock: socket.socket, *, name: str, logs: Path, progress: Path, environ: dict[str, str], options: HostOptions
) -> NoReturn:
    """Be a host until the engine says stop or is gone; then exit.

    `logs` is the folder for log files, `progress` the file of the progress page, `environ` what tasks inherit. The working folder
    at the time of the call is that of tasks which name none.
    """
    status = 0
    try:
        become_subreaper()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, _leave)
        sock.set_inheritable(False)
        Host(
            sock, name=name, logs=logs.absolute(), progress=progress.absolute(), environ=environ, options=options
        ).run()
    except ProtocolError as error:
        status = _EXIT_PROTOCOL
        _last_words(f"{name}: {error}")
    except BaseException:  # noqa: BLE001 -- the last frame of the process: say what happened, leave nothing behind
        status = 1
        _last_words(traceback.format_exc())
    finally:
        sweep(())
        os._exit(status)


def _leave(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 -- the interface of signal handlers
    signal.signal(number, signal.SIG_IGN)
    raise _EngineGoneError


def _last_words(text: str) -> None:
    try:
        os.write(2, (text.rstrip() + "\n").encode("utf-8", "replace"))
    except OSError:
        return


class Host:
    """State: the queue, the attempt under way, results and bytes that wait to be sent. The process is the owner."""

    def __init__(
        self,
        sock: socket.socket,
        *,
        name: str,
        logs: Path,
        progress: Path,
        environ: dict[str, str],
        options: HostOptions,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.name = name
        self._sock = sock
        self._control = sock.fileno()
        self._clock = clock
        self._page = ProgressPage(progress)
        self._poll = select.poll()
        base, home = encode_environment(environ), _home()
        self._lifeline = _lifeline(sock)
        python = PythonRunner(base, options.run_id, home, self._page, self._lifeline.fileno())
        self._shop = Workshop(
            clock=clock,
            poll=self._poll,
            logs=logs,
            log_max_bytes=options.log_max_bytes,
            grace_seconds=options.grace_seconds,
            run_id=options.run_id,
            home=home,
            base=base,
            secrets=frozenset(secret_values(environ)),
            paths=ProgramPaths(clock),
            python=python,
        )
        self._splitter = FrameSplitter()
        self._queue: deque[Work] = deque()
        self._attempt: Attempt | None = None
        self._said_started = False
        self._results: list[AttemptResult] = []
        self._results_since = 0.0
        self._out = bytearray()
        self._tasks_run = 0
        self._stopping = False

    def __repr__(self) -> str:
        return f"<Host {self.name} queue={len(self._queue)} attempt={self._attempt and self._attempt.work.task_id}>"

    def run(self) -> None:
        """Serve until told to stop or the engine is gone. Raises `ProtocolError` when the engine cannot be understood."""
        self._sock.setblocking(False)
        self._poll.register(self._control, select.POLLIN | getattr(select, "POLLRDHUP", 0))
        try:
            self._send(Hello(VERSION, os.getpid()))
            while not (self._stopping and self._attempt is None and not self._queue):
                self._turn()
            self._say_goodbye()
        except _EngineGoneError:
            return
        finally:
            self._end_all()

    def _turn(self) -> None:
        """One poll and what follows from it."""
        for fd, event in self._poll.poll(self._patience()):
            if fd == self._control:
                self._on_control(event)
            elif self._attempt is not None:
                self._attempt.handle(fd)
        if self._attempt is not None:
            self._attempt.tick()
            self._after_attempt()
        elif self._queue:
            self._begin()
        self._speak()

    def _patience(self) -> int:
        """Milliseconds that the next poll may wait; -1 for ever."""
        attempt = self._attempt
        if attempt is None:
            return 0 if self._queue else -1
        due = attempt.due()
        if not self._said_started:
            due = min(
                due, attempt.began + LOOK_SECONDS if attempt.has_begun() else self._clock.monotonic() + LOOK_SECONDS
            )
        if self._results:
            due = min(due, self._results_since + _COALESCE_SECONDS)
        summary = attempt.summary_due()
        if summary is not None and len(self._out) < _OUT_LIMIT:
            due = min(due, summary)
        if due == float("inf"):
            return -1
        # The kernel waits at least so long; one millisecond is added so that a deadline has passed when we look at the clock.
        return max(0, min(60_000, int((due - self._clock.monotonic()) * 1000) + 1))

    # The engine's words.

    def _on_control(self, event: int) -> None:
        if event & select.POLLOUT:
            self._push()
        if event & _GONE:
            raise _EngineGoneError
        if not event & select.POLLIN:
            return
        try:
            data = self._sock.recv(_RECEIVE)
        except BlockingIOError:
            return
        except OSError:
            raise _EngineGoneError from None
        if not data:
            raise _EngineGoneError
        for body in self._splitter.feed(data):
            self._obey(decode_to_host(body))

    def _obey(self, message: ToHost) -> None:
        if not isinstance(message, Run | Ping):
            self._catch_up()
        match message:
            case Run(items):
                self._queue.extend(items)
            case Recall(keys):
                self._recall(frozenset(keys))
            case Cancel(key, force):
                self._cancel(key, force=force)
            case Ping(token):
                self._send(Pong(token, _memory()))
            case Stop(force):
                self._stopping = True
                if force:
                    self._queue.clear()
                    if self._attempt is not None:
                        self._attempt.stop(StopReason.CANCEL, force=True)

    def _recall(self, keys: frozenset[int]) -> None:
        gone = tuple(work.key for work in self._queue if work.key in keys)
        if gone:
            self._queue = deque(work for work in self._queue if work.key not in keys)
        self._send(Recalled(gone))

    def _cancel(self, key: int, *, force: bool) -> None:
        if self._attempt is not None and self._attempt.work.key == key:
            self._attempt.stop(StopReason.CANCEL, force=force)
            return
        for work in [work for work in self._queue if work.key == key]:
            self._queue.remove(work)
            self._add_result(
                AttemptResult(key=key, attempt=work.attempt, outcome="cancelled", started_at=self._clock.time())
            )

    # Attempts.

    def _begin(self) -> None:
        """Start what is next in the queue; the socket has just been looked at."""
        work = self._queue.popleft()
        if work.kind != "python":
            self._page.begin(work.lease)
            self._go_to(work)
            return
        works = self._take_calls(work)  # the child writes their leases to the page
        started = self._shop.python.start(works)
        if not isinstance(started, CallBatch):
            self._queue.extendleft(reversed(works[1:]))
        self._go_to(work, started)

    def _go_to(self, work: Work, calls: CallBatch | Outcome | None = None) -> None:
        """`work` is the attempt under way from now on."""
        self._said_started = False
        self._attempt = Attempt(work, self._shop, warm=self._tasks_run > 0, calls=calls)
        self._tasks_run += 1
        self._attempt.begin()
        self._after_attempt()

    def _after_attempt(self) -> None:
        """Take the result of the attempt, if there is one, and what its batch has given and given back."""
        attempt = self._attempt
        if attempt is None:
            return
        calls = attempt.calls
        if calls is not None and calls.unbegun:
            self._take_back(calls, attempt)
        if attempt.result is not None:
            self._attempt = None
            self._add_result(attempt.result)
            if calls is not None:
                self._follow(calls)

    def _take_back(self, calls: CallBatch, attempt: Attempt) -> None:
        """Works that the child has not begun wait in the queue again."""
        if attempt.result is None and attempt.work in calls.unbegun:
            attempt.abandon()
            self._attempt = None
            self._tasks_run -= 1
        self._queue.extendleft(reversed(calls.unbegun))
        calls.unbegun.clear()

    def _follow(self, calls: CallBatch) -> None:
        """Go on behind a finished call of a batch: pass on what needs no work, and go to the next that does."""
        plain = list(calls.plain())
        if plain:
            self._add_plain(plain)
        if calls.unbegun:
            self._queue.extendleft(reversed(calls.unbegun))
            calls.unbegun.clear()
        calls.close()
        work = calls.current
        if work is not None:
            self._go_to(work, calls)

    def _add_plain(self, answers: list[tuple[Work, Reply]]) -> None:
        """Results of calls that succeeded and printed nothing; they share one redactor, as they share an environment."""
        redactor = stream_redactor(self._shop.secrets, answers[0][0].set_env)
        past = self._clock.time() - self._clock.monotonic()
        warm = self._tasks_run > 0
        self._tasks_run += len(answers)
        for work, reply in answers:
            self._add_result(
                AttemptResult(
                    key=work.key,
                    attempt=work.attempt,
                    outcome="succeeded",
                    exit_code=reply.exit_code,
                    started_at=past + reply.began,
                    duration=reply.ended - reply.began,
                    value=clean_value(reply.value, redactor),
                    warm=warm,
                )
            )

    def _catch_up(self) -> None:
        """Before something is taken back: let the child begin nothing more, and see which call it is at."""
        attempt = self._attempt
        if attempt is not None and attempt.calls is not None:
            attempt.hold()
            attempt.look()
            self._after_attempt()

    def _take_calls(self, work: Work) -> list[Work]:
        """`work` and those behind it in the queue that the same child can be given with it."""
        works = [work]
        if can_wait(work):
            while self._queue and len(works) < BATCH and may_share(work, works[-1], self._queue[0]):
                works.append(self._queue.popleft())
        return works

    def _add_result(self, result: AttemptResult) -> None:
        if not self._results:
            self._results_since = self._clock.monotonic()
        self._results.append(result)

    # Our words.

    def _speak(self) -> None:
        """Send what is due: results in bunches, `Started` only when the result does not follow at once, summaries."""
        attempt, now = self._attempt, self._clock.monotonic()
        if self._results and (
            (attempt is None and not self._queue)
            or len(self._results) >= _COALESCE_RESULTS
            or now - self._results_since >= _COALESCE_SECONDS
        ):
            self._flush_results()
        if attempt is None:
            return
        summary_due = attempt.summary_due()
        printed = summary_due is not None and now >= summary_due and len(self._out) < _OUT_LIMIT
        if not self._said_started and (printed or (now - attempt.began >= LOOK_SECONDS and attempt.has_begun())):
            self._said_started = True  # results of those before it are older, so they went out above
            self._send(Started(attempt.work.key, attempt.work.attempt, attempt.started_at))
        if printed:
            self._send(Output(attempt.work.key, attempt.work.attempt, attempt.take_summary()))

    def _flush_results(self) -> None:
        if not self._results:
            return
        results, self._results = self._results, []
        try:
            self._send(Results(tuple(results)))
        except ProtocolError:
            for result in results:  # too much for one frame
                self._send_alone(result)

    def _send_alone(self, result: AttemptResult) -> None:
        try:
            self._send(Results((result,)))
        except ProtocolError as error:
            fault = f"the result cannot be handed over: {error}"
            changes = {
                "outcome": "failed",
                "cause": Cause.NONE.value,
                "error": fault,
                "value": None,
                "retryable": False,
            }
            self._send(Results((msgspec.structs.replace(result, **changes),)))

    def _send(self, message: FromHost) -> None:
        waiting = bool(self._out)
        self._out += encode(message)
        if not waiting:
            self._push()

    def _push(self) -> None:
        """Give the socket what it takes; ask poll to tell when it takes more."""
        try:
            del self._out[: self._sock.send(self._out)]
        except BlockingIOError:
            pass
        except OSError:
            raise _EngineGoneError from None
        mask = select.POLLIN | getattr(select, "POLLRDHUP", 0) | (select.POLLOUT if self._out else 0)
        self._poll.modify(self._control, mask)

    # The end.

    def _say_goodbye(self) -> None:
        """The last results, as long as the engine takes them."""
        self._flush_results()
        self._sock.settimeout(_LAST_WORDS_SECONDS)
        try:
            self._sock.sendall(self._out)
        except OSError:
            return

    def _end_all(self) -> None:
        """End what runs below us: TERM, a moment, and the sweep."""
        group = self._attempt.group if self._attempt is not None else 0
        if self._attempt is not None:
            self._attempt.hold()
        if group:
            ladder.terminate(group)
            until = self._clock.monotonic() + _TERM_SECONDS
            while self._clock.monotonic() < until and _still_there(group):
                select.select([], [], [], 0.005)
        sweep(())


def _lifeline(sock: socket.socket) -> select.epoll:
    """Has news when the engine's end of the socket is closed; who has only this cannot speak to the engine."""
    lifeline = select.epoll()
    lifeline.register(sock.fileno(), select.EPOLLRDHUP)
    return lifeline


def _still_there(pid: int) -> bool:
    """Whether our child has not ended; reaps it when it has."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == 0
    except ChildProcessError:
        return False


def _home() -> str:
    try:
        return str(Path.cwd())
    except OSError:
        return "/"


def _memory() -> int:
    """Resident bytes of this process and all below it."""
    pages = 0
    for pid in [os.getpid(), *descendants(os.getpid())]:
        try:
            pages += int(Path(f"/proc/{pid}/statm").read_bytes().split()[1])
        except (OSError, IndexError):
            continue
    return pages * (os.sysconf("SC_PAGE_SIZE") if sys.platform != "win32" else 0)
