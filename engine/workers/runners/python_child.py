"""The warm child of a host: calls functions of the user, one at a time, and answers with what they returned.

It is forked from the host and first becomes a process like the user's own: our modules leave ``sys.modules`` (a project may have
an ``engine`` package), descriptors, signals and streams are those of a fresh program. After each call it puts back what a function
may have changed; what cannot be put back (threads, processes, closed descriptors) is told to the host, which ends the child.

Nothing here may import one of our modules once `serve_calls` has begun: the name may mean the user's module by then.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # its functions, not those of `signal`, which turn each number into an enum
import contextlib
import mmap
import os
import signal
import struct
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import msgspec

from ...clock import SYSTEM_CLOCK
from ...tasks.model import Cause
from ..protocol import FrameSplitter, Run, Work, decode_to_host
from .environment import task_environment, task_marks
from .python_call import (
    OUR_FILES,
    NotFoundError,
    NotJSONError,
    await_value,
    find_callable,
    give_stdin,
    json_value,
    print_traceback,
    text_of,
    words,
)
from .python_process import (
    SIGNALS,
    enter_process,
    forget_our_modules,
    identity,
    own_descriptors,
    raw_environment,
    standard_streams,
    user_folders,
    what_is_left,
)

PAGE_BYTES = 64 * 1024
_LENGTH = struct.Struct(">I")
_PAGE_HEAD = struct.Struct(">QI")
_RECEIVE = 256 * 1024
_SOURCES_EVERY = 0.5
"""Seconds between two looks at the files of imported modules."""
_NUMBERS = tuple(int(number) for number in SIGNALS)
_FOLDER_MISSING = "cannot work in the folder"


OUR_FILES.add(__file__)


class Reply(msgspec.Struct, frozen=True, array_like=True):
    """The answer to one call."""

    number: int
    """Lease of the call."""
    ok: bool
    value: Any = None
    error: str = ""
    cause: str = ""
    retryable: bool = True
    exit_code: int | None = None
    distrust: str = ""
    """Why this child must not be used again; empty when it may."""
    stale: bool = False
    """The call was not made: a module's file has changed since it was imported."""


class Setup(NamedTuple):
    """What a child gets from its host."""

    host: int
    """Pid of the host; another parent means that the host is gone."""
    channel: int
    output: int
    page: mmap.mmap
    """Memory shared with the host, for a reply that no descriptor is left for."""
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
        self._pid = os.getpid()
        self._channel = own_descriptors(setup.channel, setup.output)
        self._channel_is = identity(self._channel)
        self._output_is = identity(1)
        self._libc = enter_process(setup.host)
        self._environment = task_environment(setup.base, setup.work, setup.run_id)
        folders = user_folders(setup.work.cwd or setup.home, setup.work.source_dir, self._environment)
        self._path = list(dict.fromkeys([*folders, *setup.path]))
        forget_our_modules(folders)
        self._streams = standard_streams()
        self._umask = os.umask(0o022)
        os.umask(self._umask)
        self._handlers = [_signal.getsignal(number) for number in _NUMBERS]
        self._sources = _Sources((setup.work.cwd, setup.work.source_dir, setup.home if not setup.work.cwd else ""))
        self._restore_process()

    def serve(self) -> None:
        """Answer calls until the host closes the channel."""
        splitter = FrameSplitter()
        while data := os.read(self._channel, _RECEIVE):
            for body in splitter.feed(data):
                message = decode_to_host(body)
                if isinstance(message, Run):
                    for work in message.items:
                        self._send(self._answer(work))
                        self._restore_process()  # after the answer: the host goes on meanwhile

    def _answer(self, work: Work) -> Reply:
        if self._sources.changed():
            return Reply(work.lease, False, stale=True)
        reply = self._try_call(work)
        if os.getpid() != self._pid:
            os._exit(0)  # the function forked, and this is the copy: only the original answers
        distrust = self._look_over() or reply.distrust
        self._sources.learn()
        return msgspec.structs.replace(reply, distrust=distrust) if distrust else reply

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
        folder = work.cwd or self._setup.home
        try:
            os.chdir(folder)
        except OSError as error:
            raise NotFoundError(f"{_FOLDER_MISSING} {folder!r}: {error.strerror}") from error
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
        distrust = what_is_left()
        if not distrust and not (identity(1) == identity(2) == self._output_is):
            distrust = "it closed or replaced its output"
        if not distrust and identity(self._channel) != self._channel_is:
            distrust = "it closed the channel to its host"
        if not distrust and any(stream.closed for stream in self._streams):
            distrust = "it closed its standard streams"
        return distrust

    def _restore_process(self) -> None:
        """Streams, environment, search path, mask, timers and handlers as they were."""
        sys.stdin, sys.stdout, sys.stderr = self._streams
        if raw_environment() != self._environment:
            os.environb.clear()
            os.environb.update(self._environment)
        if sys.path != self._path:
            sys.path[:] = self._path
        os.umask(self._umask)
        signal.setitimer(signal.ITIMER_REAL, 0)
        _signal.pthread_sigmask(signal.SIG_SETMASK, ())
        if [_signal.getsignal(number) for number in _NUMBERS] != self._handlers:
            for number, handler in zip(_NUMBERS, self._handlers, strict=True):
                signal.signal(number, handler)

    def _send(self, reply: Reply) -> None:
        """Hand the reply to the host: by the channel, or by shared memory (and then leave) when the function closed that."""
        try:
            body = msgspec.msgpack.encode(reply)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            fault = f"the callable returned a value that JSON cannot carry: {error}"
            body = msgspec.msgpack.encode(
                Reply(reply.number, False, error=fault, retryable=False, distrust=reply.distrust)
            )
        if identity(self._channel) == self._channel_is:
            data = memoryview(_LENGTH.pack(len(body)) + body)
            while data:
                data = data[os.write(self._channel, data) :]
            return
        page = self._setup.page
        if len(body) <= PAGE_BYTES - _PAGE_HEAD.size:
            page[_PAGE_HEAD.size : _PAGE_HEAD.size + len(body)] = body
            _PAGE_HEAD.pack_into(page, 0, reply.number, len(body))
        os._exit(0)


def read_page(page: mmap.mmap, number: int) -> Reply | None:
    """The reply to call `number` that a child left in shared memory; None when there is none."""
    written, length = _PAGE_HEAD.unpack_from(page, 0)
    if written != number or not 0 < length <= PAGE_BYTES - _PAGE_HEAD.size:
        return None
    try:
        return msgspec.msgpack.decode(page[_PAGE_HEAD.size : _PAGE_HEAD.size + length], type=Reply)
    except msgspec.MsgspecError:
        return None


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

    def changed(self) -> bool:
        """Whether a known file is another one now; looks at most every half second."""
        now = SYSTEM_CLOCK.monotonic()
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
