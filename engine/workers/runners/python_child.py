"""The warm child of a host: calls functions of the user, one at a time, and answers with what they returned.

It is forked from the host and first becomes a process like the user's own: our modules leave ``sys.modules`` (a project may have
an ``engine`` package), descriptors, signals and streams are those of a fresh program. After each call it puts back what a function
may have changed; what cannot be put back (threads, processes, closed descriptors) is told to the host, which ends the child.

Nothing here may import one of our modules once `serve_calls` has begun: the name may mean the user's module by then.
"""

from __future__ import annotations

import _signal  # the plain functions: those of ``signal`` turn every number into an enumeration, thirty times a call
import _thread
import contextlib
import ctypes
import fcntl
import gc
import importlib
import io
import json
import mmap
import os
import signal
import struct
import sys
import tempfile
import threading
import traceback
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import msgspec

from ...clock import SYSTEM_CLOCK
from ...tasks.model import Cause
from ..protocol import FrameSplitter, Run, Work, decode_to_host
from ..sweep import become_subreaper
from .environment import task_environment, task_marks

LONGEST_VALUE = 16 * 1024 * 1024
"""Characters of JSON that a function may return."""
PAGE_BYTES = 64 * 1024
_LENGTH = struct.Struct(">I")
_PAGE_HEAD = struct.Struct(">QI")
_CHANNEL_AT = 500
"""The channel goes to a descriptor above those that functions close by counting."""
_RECEIVE = 256 * 1024
_PR_SET_PDEATHSIG = 1
_SOURCES_EVERY = 0.5
"""Seconds between two looks at the files of imported modules."""
_SIGNALS = tuple(signal.Signals(n) for n in range(1, 32) if n not in {signal.SIGKILL, signal.SIGSTOP})
_NUMBERS = tuple(int(number) for number in _SIGNALS)
_FOLDER_MISSING = "cannot work in the folder"


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


class _NotFoundError(Exception):
    """The callable cannot be had; the message says why."""


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
        self._channel = _own_descriptors(setup)
        self._channel_is = _identity(self._channel)
        self._output_is = _identity(1)
        self._libc = _enter_process(setup.host)
        self._environment = task_environment(setup.base, setup.work, setup.run_id)
        self._path = _search_path(setup, self._environment)
        _forget_our_modules()
        self._streams = _standard_streams()
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
        distrust = self._look_over() or reply.distrust
        self._sources.learn()
        return msgspec.structs.replace(reply, distrust=distrust) if distrust else reply

    def _try_call(self, work: Work) -> Reply:
        """The reply of one call, whatever the function does short of ending the process."""
        try:
            self._prepare(work)
            function = _find(work.callable, sys.path)
        except _NotFoundError as error:
            return Reply(
                work.lease,
                False,
                error=str(error),
                cause=Cause.START_FAILED.value,
                retryable=False,
                distrust="import failed",
            )
        except BaseException as error:  # noqa: BLE001 -- a module may raise anything while it is imported
            _print_traceback(error)
            return Reply(work.lease, False, error=f"import failed: {_words(error)}", distrust="import failed")
        try:
            return Reply(work.lease, True, value=_json_value(_await(function(*work.args, **work.kwargs))))
        except SystemExit as error:
            return _exit_reply(work, error)
        except _NotJSONError as error:
            return Reply(work.lease, False, error=str(error), retryable=False)
        except BaseException as error:  # noqa: BLE001 -- whatever it raises is its result
            _print_traceback(error)
            distrust = "out of memory" if isinstance(error, MemoryError) else ""
            return Reply(work.lease, False, error=_words(error), distrust=distrust)

    def _prepare(self, work: Work) -> None:
        """Make the process as the task asks for it."""
        folder = work.cwd or self._setup.home
        try:
            os.chdir(folder)
        except OSError as error:
            raise _NotFoundError(f"{_FOLDER_MISSING} {folder!r}: {error.strerror}") from error
        for name, value in task_marks(work).items():
            self._environment[name] = os.environb[name] = value
        sys.argv = [work.callable]
        if work.stdin is not None:
            _give_stdin(work.stdin)

    def _look_over(self) -> str:
        """Get out what is still buffered; returns what cannot be undone of what the call changed."""
        for stream in self._streams[1:]:
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        self._libc.fflush(None)
        distrust = _what_is_left()
        if not distrust and not (_identity(1) == _identity(2) == self._output_is):
            distrust = "it closed or replaced its output"
        if not distrust and _identity(self._channel) != self._channel_is:
            distrust = "it closed the channel to its host"
        if not distrust and any(stream.closed for stream in self._streams):
            distrust = "it closed its standard streams"
        return distrust

    def _restore_process(self) -> None:
        """Streams, environment, search path, mask, timers and handlers as they were."""
        sys.stdin, sys.stdout, sys.stderr = self._streams
        if _raw_environment() != self._environment:
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
        if _identity(self._channel) == self._channel_is:
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


def _enter_process(host: int) -> ctypes.CDLL:
    """A session of its own, an end with the host's, default signals; gives the C library."""
    os.setsid()
    libc = ctypes.CDLL(None, use_errno=True)
    if sys.platform.startswith("linux"):
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != host:
        os._exit(71)
    become_subreaper()  # so that its own waitpid tells whether a call left processes behind
    signal.set_wakeup_fd(-1)
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN if number in {signal.SIGPIPE, signal.SIGXFSZ} else signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return libc


def _own_descriptors(setup: Setup) -> int:
    """Only stdin, output and the channel stay open; returns the channel."""
    null = os.open(os.devnull, os.O_RDONLY)
    try:
        channel = fcntl.fcntl(setup.channel, fcntl.F_DUPFD_CLOEXEC, _CHANNEL_AT)
    except OSError:
        channel = fcntl.fcntl(setup.channel, fcntl.F_DUPFD_CLOEXEC, 10)  # a low limit on descriptors
    os.dup2(null, 0)
    os.dup2(setup.output, 1)
    os.dup2(setup.output, 2)
    for fd in _open_descriptors():
        if fd > 2 and fd != channel:
            with contextlib.suppress(OSError):
                os.close(fd)
    return channel


def _open_descriptors() -> list[int]:
    """Numbers of descriptors that may be open."""
    for folder in ("/proc/self/fd", "/dev/fd"):
        try:
            return [int(name) for name in os.listdir(folder)]  # noqa: PTH208 -- names only
        except OSError:
            continue
    return list(range(3, 4096))


def _forget_our_modules() -> None:
    """Free the names of our packages for the user, and be nobody's ``__main__``."""
    own = __name__.partition(".")[0]
    for name in [name for name in sys.modules if name.partition(".")[0] in {own, "mi4_tui"}]:
        del sys.modules[name]
    sys.modules["__main__"] = types.ModuleType("__main__")
    logging = sys.modules.get("logging")
    if logging is not None:
        logging.root.handlers.clear()
    numpy = sys.modules.get("numpy")
    if numpy is not None and hasattr(numpy, "random"):
        numpy.random.seed()  # forked children would all draw the same numbers
    threading.excepthook = threading.__excepthook__
    gc.freeze()


def _search_path(setup: Setup, environment: Mapping[bytes, bytes]) -> list[str]:
    """``sys.path`` of the calls: working folder, the task file's folder, PYTHONPATH, what the interpreter has."""
    python_path = os.fsdecode(environment.get(b"PYTHONPATH", b""))
    wanted = [setup.work.cwd or setup.home, setup.work.source_dir, *python_path.split(os.pathsep), *setup.path]
    return list(dict.fromkeys(entry for entry in wanted if entry))


def _standard_streams() -> tuple[io.TextIOBase, io.TextIOBase, io.TextIOBase]:
    def stream(fd: int, mode: str) -> Any:
        return open(fd, mode, encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)

    streams = stream(0, "r"), stream(1, "w"), stream(2, "w")
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = streams  # type: ignore[misc]
    sys.stdin, sys.stdout, sys.stderr = streams
    return streams


def _give_stdin(text: str) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(text.encode("utf-8", "surrogateescape"))
        file.seek(0)
        os.dup2(file.fileno(), 0)
    sys.stdin = open(0, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115 -- lives as long as the call


def _raw_environment() -> dict[bytes, bytes]:
    """The environment as ``os`` keeps it; the public mapping would decode all of it on every call."""
    raw: dict[bytes, bytes] | None = getattr(os.environb, "_data", None)
    return raw if raw is not None else dict(os.environb)


def _what_is_left() -> str:
    """Threads or processes that a call left behind, in words; empty when there are none."""
    if _thread._count() > 0:  # noqa: SLF001 -- counts threads that the threading module does not know, too
        return "it left a thread running"
    try:
        while True:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return "it left a process running"
    except ChildProcessError:
        return ""


def _identity(fd: int) -> tuple[int, int] | None:
    """Which file a descriptor is open on; None when it is closed."""
    try:
        found = os.fstat(fd)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _find(name: str, path: list[str]) -> Callable[..., Any]:
    """The function ``module:name``; raises `_NotFoundError` with what to do, or what the import raises."""
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise _NotFoundError(f"callable must be 'module:function', not {name!r}")
    module = sys.modules.get(module_name) or _import(module_name, path)
    found: Any = module
    for part in attribute.split("."):
        found = getattr(found, part, None)
        if found is None:
            raise _NotFoundError(
                f"the module {module_name!r} ({getattr(module, '__file__', None)}) has no {attribute!r}"
            )
    if not callable(found):
        raise _NotFoundError(f"{name!r} is {type(found).__name__}, not something that can be called")
    return found  # type: ignore[no-any-return]


def _import(name: str, path: list[str]) -> types.ModuleType:
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise _NotFoundError(f"no module {name!r} in {', '.join(path[:2])} or on PYTHONPATH") from error
        raise _NotFoundError(f"the module {name!r} needs {error.name!r}, which is not installed here") from error
    except SyntaxError as error:
        raise _NotFoundError(f"the module {name!r} cannot be read: {error}") from error


def _await(value: Any) -> Any:
    """`value`, or what it gives when it is awaitable."""
    if not hasattr(value, "__await__"):
        return value

    async def outcome() -> Any:
        return await value

    return importlib.import_module("asyncio").run(outcome())


class _NotJSONError(Exception):
    """The value cannot be handed back; the message says why."""


def _json_value(value: Any) -> Any:
    """`value` as JSON would carry it; raises `_NotJSONError`."""
    if value is None or value is True or value is False:
        return value
    try:
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise _NotJSONError(f"the callable returned a {type(value).__name__} that JSON cannot hold: {error}") from error
    if len(text) > LONGEST_VALUE:
        raise _NotJSONError(
            f"the callable returned {len(text):,} characters of JSON; at most {LONGEST_VALUE:,} can be handed back: "
            "write large results to a file and return its name"
        )
    return json.loads(text)


def _exit_reply(work: Work, error: SystemExit) -> Reply:
    """``sys.exit``: 0 and None end well, a number is an exit status, anything else is a message."""
    if error.code is None or error.code == 0:
        return Reply(work.lease, True, exit_code=0)
    if isinstance(error.code, int):
        return Reply(
            work.lease, False, error=f"the callable exited with status {error.code}", exit_code=error.code & 0xFF
        )
    return Reply(work.lease, False, error=f"the callable exited: {_text(error.code)}", exit_code=1)


def _words(error: BaseException) -> str:
    """One line: type, message and the place in the user's code."""
    message = _text(error)
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    place = ""
    if last is not None and last.tb_frame.f_code.co_filename != __file__:
        place = f" ({Path(last.tb_frame.f_code.co_filename).name}:{last.tb_lineno})"
    return f"{type(error).__name__}: {message}{place}" if message else type(error).__name__ + place


def _text(value: object) -> str:
    try:
        return str(value)[:2000]
    except Exception:  # noqa: BLE001 -- str() of a foreign object may do anything
        return f"<{type(value).__name__} that cannot be printed>"


def _print_traceback(error: BaseException) -> None:
    """The traceback into the captured output, from the user's first frame on."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename == __file__:
        frames = frames.tb_next
    try:
        sys.stderr.write("".join(traceback.format_exception(type(error), error, frames)))
    except Exception:  # noqa: BLE001 -- the stream or the exception may be broken; the reply says what happened
        return
