"""The warm child of a host: calls functions of the user, one at a time, and answers with what they returned.

It is forked from the host and first becomes a process like the user's own: our modules leave ``sys.modules`` (a project may have
an ``engine`` package), descriptors, signals and streams are those of a fresh program. After each call it puts back what a function
may have changed; what cannot be put back (threads, processes, closed descriptors) is told to the host, which ends the child.

Calls come in batches. Before each the child looks whether the engine lives and the host still wants it, and writes its lease to the
progress page. It goes on by itself as long as nobody has to do anything about the last call; the host reads the output of a call
that printed a lot, or that it has begun to read, before the next one may print.

Nothing here may import one of our modules once `serve_calls` has begun: the name may mean the user's module by then.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # its functions, not those of `signal`, which turn each number into an enum
import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, NoReturn

import msgspec

from ...clock import SYSTEM_CLOCK
from ...tasks.model import Cause
from ..progress import ProgressPage
from ..protocol import FrameSplitter, Work
from .environment import task_environment, task_marks
from .python_call import (
    OUR_FILES,
    NotFoundError,
    NotJSONError,
    await_value,
    enter_folder,
    find_callable,
    give_stdin,
    json_value,
    print_traceback,
    text_of,
    words,
)
from .python_process import (
    SIGNALS,
    Leftovers,
    Mark,
    Pipe,
    enter_process,
    forget_our_modules,
    own_descriptors,
    raw_environment,
    standard_streams,
    user_folders,
)
from .slate import ALL, FRAME_LENGTH, Calls, Reply, Slate, decode_calls

_RECEIVE = 256 * 1024
_TELL_SECONDS = 0.010
"""The host hears of replies at least so often, as far as calls end."""
_MUCH_OUTPUT = 16 * 1024
"""Bytes in the pipe with which the host is asked to read before the next call."""
_SOURCES_EVERY = 0.5
"""Seconds between two looks at the files of imported modules."""
_NUMBERS = tuple(int(number) for number in SIGNALS)
_encoder = msgspec.msgpack.Encoder()


OUR_FILES.add(__file__)


class Setup(NamedTuple):
    """What a child gets from its host."""

    host: int
    """Pid of the host; another parent means that the host is gone."""
    channel: int
    output: int
    lifeline: int
    """An epoll descriptor that has news when the engine is gone."""
    slate: Slate
    progress: ProgressPage
    base: Mapping[bytes, bytes]
    run_id: str
    home: str
    """Working folder of tasks that name none."""
    path: tuple[str, ...]
    """``sys.path`` behind the task's own folders."""
    work: Work
    """The first call; its folders and environment are those of all calls of this child."""


def serve_calls(setup: Setup) -> NoReturn:
    """Be the child; never returns and never raises."""
    status = 70
    try:
        child = _Child(setup)
        child.serve()
        status = 0
    except BaseException as error:  # noqa: BLE001 -- nothing may climb into the host's stack, of which this is a copy
        os.write(
            2,
            f"the process for callables could not go on: {type(error).__name__}: {error}\n".encode("utf-8", "replace"),
        )
    finally:
        os._exit(status)


class _Child:
    """State: what a call may change, as it was before; the process is the owner."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._slate = setup.slate
        self._progress = setup.progress
        self._channel, lifeline = own_descriptors(setup.channel, setup.lifeline, setup.output)
        self._libc = enter_process(setup.host)
        self._pid = os.getpid()
        self._marks = Mark(1, self._pid), Mark(2, self._pid), Mark(self._channel, -self._pid)
        self._lifeline = lifeline
        self._pipe = Pipe(1)
        self._leftovers = Leftovers(self._libc)
        self._environment = task_environment(setup.base, setup.work, setup.run_id)
        folders = user_folders(setup.work.cwd or setup.home, setup.work.source_dir, self._environment)
        self._path = list(dict.fromkeys([*folders, *setup.path]))
        forget_our_modules(folders)
        self._streams = standard_streams()
        self._umask = os.umask(0o022)
        os.umask(self._umask)
        self._handlers = [_signal.getsignal(number) for number in _NUMBERS]
        self._sources = _Sources((setup.work.cwd, setup.work.source_dir, setup.home if not setup.work.cwd else ""))
        self._frames = self._read_frames()
        self._counted = 0  # bytes in the pipe that replies tell of
        self._told = 0.0
        self._number = 0  # of the batch
        self._watched = False
        self._restore_process()

    def serve(self) -> None:
        """Answer calls until the host closes the channel."""
        body = next(self._frames, None)
        while body is not None:
            body = self._run(decode_calls(body)) if body else next(self._frames, None)

    def _read_frames(self) -> Iterator[bytes]:
        """Frames of the host, as they come; an empty one says 'go on'."""
        splitter = FrameSplitter()
        while data := os.read(self._channel, _RECEIVE):
            yield from splitter.feed(data)

    def _run(self, calls: Calls) -> bytes | None:
        """Make the calls, as far as the host wants them; returns the next frame."""
        number, last = calls.number, len(calls.items)
        self._number = number
        self._slate.open(number)
        self._counted, self._told, self._watched = 0, SYSTEM_CLOCK.monotonic(), self._slate.watched(number)
        for count, work in enumerate(calls.items, 1):
            if not self._may_begin(number, work, count):
                break
            reads = self._slate.reads
            reply = self._answer(work)
            waits, goes_on = self._hand_over(number, reply, reads, last=count == last)
            self._restore_process()  # after the answer: the host goes on meanwhile
            if waits and (frame := next(self._frames, None)) != b"":
                return frame
            if waits:
                self._counted, self._watched = 0, self._slate.watched(number)
            if not goes_on:
                break
        return next(self._frames, None)

    def _may_begin(self, number: int, work: Work, count: int) -> bool:
        """Whether this call is still wanted; if so it has begun, for everybody who looks."""
        slate, now = self._slate, SYSTEM_CLOCK.monotonic()
        if slate.held(number):
            return False
        if self._lifeline.poll(0, 1):
            os._exit(0)  # the engine is gone
        if self._sources.changed(now):
            self._put(Reply(work.lease, False, stale=True))
            self._tell()
            return False
        slate.announce(count, now)
        if slate.held(number):
            slate.withdraw(count - 1)
            return False
        self._progress.begin(work.lease)
        return True

    def _answer(self, work: Work) -> Reply:
        reply = self._try_call(work)
        if os.getpid() != self._pid:
            os._exit(0)  # the function forked, and this is the copy: only the original answers
        reply.distrust = self._look_over() or reply.distrust
        self._sources.learn()
        return reply

    def _try_call(self, work: Work) -> Reply:
        """The reply of one call, whatever the function does short of ending the process."""
        try:
            self._prepare(work)
            function = find_callable(work.callable, sys.path)
        except NotFoundError as error:
            return Reply(
                work.lease,
                False,
                error=str(error),
                cause=Cause.START_FAILED.value,
                retryable=False,
                distrust="import failed",
            )
        except BaseException as error:  # noqa: BLE001 -- a module may raise anything while it is imported
            print_traceback(error)
            return Reply(work.lease, False, error=f"import failed: {words(error)}", distrust="import failed")
        try:
            return Reply(work.lease, True, value=json_value(await_value(function(*work.args, **work.kwargs))))
        except SystemExit as error:
            return _exit_reply(work, error)
        except NotJSONError as error:
            return Reply(work.lease, False, error=str(error), retryable=False)
        except BaseException as error:  # noqa: BLE001 -- whatever it raises is its result
            print_traceback(error)
            distrust = "out of memory" if isinstance(error, MemoryError) else ""
            return Reply(work.lease, False, error=words(error), distrust=distrust)

    def _prepare(self, work: Work) -> None:
        """Make the process as the task asks for it."""
        enter_folder(work.cwd or self._setup.home)
        for name, value in task_marks(work).items():
            self._environment[name] = os.environb[name] = value
        sys.argv = [work.callable]
        if work.stdin is not None:
            give_stdin(work.stdin)

    def _look_over(self) -> str:
        """Get out what is still buffered; returns what cannot be undone of what the call changed."""
        for stream in self._streams[1:]:
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        self._libc.fflush(None)
        distrust = self._leftovers.look()
        if not distrust:
            first, second, channel = self._marks
            if not (first.holds() and second.holds()):
                distrust = "it closed or replaced its output"
            elif not channel.holds():
                distrust = "it closed the channel to its host"
            elif self._streams[0].closed or self._streams[1].closed or self._streams[2].closed:
                distrust = "it closed its standard streams"
        return distrust

    def _hand_over(self, number: int, reply: Reply, reads: int, *, last: bool) -> tuple[bool, bool]:
        """Give the host the reply; returns whether to wait for it, and whether the batch goes on.

        Output: as long as the host does not read, what came into the pipe is this call's. Once it may have read, only a call that
        wrote nothing is known; of any other the host takes all there is while we wait.
        """
        slate, reply.began, reply.ended = self._slate, self._slate.began, SYSTEM_CLOCK.monotonic()
        pending = self._pipe.pending()
        if reply.distrust:
            reply.printed = ALL
        elif self._watched or slate.watched(number):
            silent = self._watched and not pending and slate.reads == reads
            self._watched, reply.printed, reply.waits = True, 0 if silent else ALL, not silent and not last
        else:
            reply.printed, self._counted = pending - self._counted, pending
            reply.waits = pending >= _MUCH_OUTPUT and not last
        goes_on = self._put(reply) and not (last or reply.distrust)
        waits = reply.waits and goes_on
        if goes_on and not self._watched and slate.watched(number):  # it began to read before it could see this reply
            waits = self._put(Reply(0, True, waits=True))
        # A host that has looked at a call waits for news of it, and for nothing else.
        if waits or not goes_on or self._watched or reply.ended - self._told >= _TELL_SECONDS:
            self._told = reply.ended
            self._tell()
        return waits, goes_on

    def _restore_process(self) -> None:
        """Streams, environment, search path, mask, timers and handlers as they were."""
        sys.stdin, sys.stdout, sys.stderr = self._streams
        if raw_environment() != self._environment:
            os.environb.clear()
            os.environb.update(self._environment)
        if sys.path != self._path:
            sys.path[:] = self._path
        os.umask(self._umask)
        signal.alarm(0)  # the timer of setitimer, too
        _signal.pthread_sigmask(signal.SIG_SETMASK, ())
        if list(map(_signal.getsignal, _NUMBERS)) != self._handlers:
            for number, handler in zip(_NUMBERS, self._handlers, strict=True):
                signal.signal(number, handler)

    def _put(self, reply: Reply) -> bool:
        """Write the reply where the host finds it: into shared memory or, when it is too long, the channel; then the batch is over."""
        try:
            body = _encoder.encode(reply)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            reply.ok, reply.value, reply.retryable = False, None, False
            reply.error = f"the callable returned a value that JSON cannot carry: {error}"
            body = _encoder.encode(reply)
        if self._slate.put(body):
            return True
        reply.waits, reply.over = False, True
        self._slate.announce_long(self._number)
        self._write(_encoder.encode(reply))
        return False

    def _tell(self) -> None:
        """Wake the host."""
        self._write(b"")

    def _write(self, body: bytes) -> None:
        """A frame to the host; when the function has closed the channel, our exit wakes it as well."""
        if not self._marks[2].holds():
            os._exit(0)
        data = memoryview(FRAME_LENGTH.pack(len(body)) + body)
        while data:
            data = data[os.write(self._channel, data) :]


class _Sources:
    """Files of the user's modules that are imported. State: their times; a changed file makes the child stale."""

    def __init__(self, folders: tuple[str, ...]) -> None:
        self._folders = tuple({str(Path(folder).resolve()) + os.sep for folder in folders if folder})
        self._known: dict[str, tuple[int, int]] = {}
        self._modules = 0
        self._looked = 0.0

    def learn(self) -> None:
        """Note the files of modules that were imported since the last time."""
        if len(sys.modules) == self._modules:
            return
        self._modules = len(sys.modules)
        for module in list(sys.modules.values()):
            file = getattr(module, "__file__", None)
            if isinstance(file, str) and file.startswith(self._folders) and file not in self._known:
                self._known[file] = _stamp(file)

    def changed(self, now: float) -> bool:
        """Whether a known file is another one at the monotonic time `now`; looks at most every half second."""
        if now - self._looked < _SOURCES_EVERY:
            return False
        self._looked = now
        return any(_stamp(file) != stamp for file, stamp in self._known.items())


def _stamp(file: str) -> tuple[int, int]:
    try:
        found = os.stat(file)  # noqa: PTH116 -- in the way of every call
    except OSError:
        return (0, 0)
    return found.st_mtime_ns, found.st_size


def _exit_reply(work: Work, error: SystemExit) -> Reply:
    """``sys.exit``: 0 and None end well, a number is an exit status, anything else is a message."""
    if error.code is None or error.code == 0:
        return Reply(work.lease, True, exit_code=0)
    if isinstance(error.code, int):
        return Reply(
            work.lease, False, error=f"the callable exited with status {error.code}", exit_code=error.code & 0xFF
        )
    return Reply(work.lease, False, error=f"the callable exited: {text_of(error.code)}", exit_code=1)
