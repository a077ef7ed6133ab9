"""The main of the zygote: forks worker hosts, reports and cleans up after their deaths, ends everything when the engine is gone.

One thread, one `poll`. It is exec'ed in a session of its own and is sub-reaper, so that what a dead host leaves behind comes here.
The same module is the main of a host that is exec'ed instead of forked (``main(["host"])``).
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import select
import signal
import socket
import traceback
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from ..clock import SYSTEM_CLOCK
from .sweep import become_subreaper, kill, reap, sweep
from .zygote_protocol import (
    CONTROL_FD,
    ORDER_FD,
    PACKET,
    Configure,
    Died,
    Fork,
    Forked,
    Kill,
    Ready,
    Refused,
    ToZygote,
    decode_to_zygote,
    encode,
)

_LINGER = 1.2
"""Seconds that hosts have to clean up by themselves once the engine is gone."""
_SWEEP_DELAY = 0.1
"""Seconds after which the zygote looks for what hosts that ended well may have left."""
_WORDS = 4096
"""Bytes of a host's stderr that are kept."""
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The guardian leaves when the engine does, not before."""

HostMain = Callable[..., NoReturn]
_Order = tuple[Configure, Fork]


class Zygote:
    """State, all its own: the hosts that live, by pid, with the read end of their stderr and what was read from it."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._poll = select.poll()
        self._hosts: dict[int, int] = {}
        self._words: dict[int, bytearray] = {}
        self._wake, self._wake_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._engine = -1
        self._sweep_at: float | None = None

    def run(self) -> int:
        """Serve until the engine is gone; returns the exit status."""
        configure, _ = self._receive()
        if not isinstance(configure, Configure):
            return 1
        self._prepare(configure)
        while self._turn(configure):
            pass
        self._leave()
        return 0

    def _prepare(self, configure: Configure) -> None:
        become_subreaper()
        for number in _IGNORED:
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake_end, warn_on_full_buffer=False)
        self._watch_engine(configure.engine_pid)
        warnings = _preload(configure.preload)
        self._main = load_entry(configure.entry)
        self._options = convert_options(self._main, configure.options)
        gc.collect()
        gc.freeze()
        self._poll.register(self._control, select.POLLIN)
        self._poll.register(self._wake, select.POLLIN)
        self._say(Ready(os.getpid(), warnings))

    def _watch_engine(self, pid: int) -> None:
        """Notice the engine's death even if a stray child of it holds its end of our socket."""
        if os.getppid() != pid:
            raise SystemExit(0)
        with contextlib.suppress(OSError):
            self._engine = os.pidfd_open(pid)
            self._poll.register(self._engine, select.POLLIN)

    def _turn(self, configure: Configure) -> bool:
        """Wait for something to happen and handle it; False once the engine is gone."""
        for fd, _ in self._poll.poll(None if self._sweep_at is None else _SWEEP_DELAY * 1000):
            if fd == self._engine:
                return False
            if fd == self._control.fileno():
                if not self._obey(configure):
                    return False
            elif fd == self._wake:
                self._drain_wake()
            else:
                self._listen(fd)
        self._bury()
        if self._sweep_at is not None and self._sweep_at <= SYSTEM_CLOCK.monotonic():
            self._sweep()
        return True

    def _drain_wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self._wake, 4096):
                pass

    # What the engine asks

    def _receive(self) -> tuple[ToZygote | None, list[int]]:
        """The next packet and its descriptors; None at the end of the connection."""
        try:
            packet, fds, _, _ = socket.recv_fds(self._control, PACKET, 1)
        except ConnectionError:
            return None, []
        for fd in fds:
            os.set_inheritable(fd, False)
        return (decode_to_zygote(packet) if packet else None), fds

    def _obey(self, configure: Configure) -> bool:
        message, fds = self._receive()
        if message is None:
            return False
        if isinstance(message, Fork):
            self._fork((configure, message), socket.socket(fileno=fds[0]))
        elif isinstance(message, Kill) and message.pid in self._hosts:
            kill(message.pid, message.signal)
        return True

    def _fork(self, order: _Order, sock: socket.socket) -> None:
        stderr, stderr_end = os.pipe2(os.O_CLOEXEC)
        try:
            pid = os.fork()
        except OSError as error:
            os.close(stderr)
            self._say(Refused(order[1].number, str(error)))
        else:
            if pid == 0:
                os.close(stderr)
                self._become_host(order, sock, stderr_end)
            os.set_blocking(stderr, False)
            self._hosts[pid] = stderr
            self._words[stderr] = bytearray()
            self._poll.register(stderr, select.POLLIN)
            self._say(Forked(order[1].number, pid))
        finally:
            os.close(stderr_end)
            sock.close()

    def _become_host(self, order: _Order, sock: socket.socket, stderr_end: int) -> NoReturn:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, *_IGNORED):
            signal.signal(number, signal.SIG_DFL)
        os.dup2(stderr_end, 2)
        self._control.close()
        for fd in (stderr_end, self._wake, self._wake_end, self._engine, *self._words):
            if fd >= 0:
                os.close(fd)
        os.setsid()
        run_host(self._main, self._options, order, sock)

    # What happens to hosts

    def _listen(self, fd: int) -> None:
        """Keep the last of what a host says on stderr."""
        try:
            chunk = os.read(fd, 65536)
        except BlockingIOError:
            return
        words = self._words[fd]
        words += chunk
        del words[:-_WORDS]
        if not chunk:
            self._poll.unregister(fd)

    def _bury(self) -> None:
        """Reap the hosts that ended, sweep what they left, and only then report: the engine may start their work again."""
        ended = {pid: status for pid in list(self._hosts) if (status := reap(pid)) is not None}
        if not ended:
            return
        words = {pid: self._last_words(self._hosts.pop(pid)) for pid in ended}
        if any(ended.values()):
            self._sweep()
        elif self._sweep_at is None:
            # Those that leave in good order have swept for themselves. We check, but not for each: that would slow down pools
            # that start a process for every task.
            self._sweep_at = SYSTEM_CLOCK.monotonic() + _SWEEP_DELAY
        for pid, status in ended.items():
            self._say(Died(pid, status, words[pid]))

    def _sweep(self) -> None:
        self._sweep_at = None
        sweep(self._hosts)

    def _last_words(self, fd: int) -> str:
        with contextlib.suppress(KeyError):
            self._poll.unregister(fd)
        words = self._words.pop(fd)
        with contextlib.suppress(BlockingIOError):
            words += os.read(fd, 65536)
        os.close(fd)
        return words[-_WORDS:].decode(errors="replace").strip()

    def _say(self, message: Ready | Forked | Refused | Died) -> None:
        """Tell the engine; when it is gone, `_turn` learns of that by itself."""
        with contextlib.suppress(OSError):
            self._control.send(encode(message))

    def _leave(self) -> None:
        """The engine is gone: let the hosts clean up by themselves for a while, then end whatever is left."""
        deadline = SYSTEM_CLOCK.monotonic() + _LINGER
        waiting = select.poll()
        waiting.register(self._wake, select.POLLIN)
        while self._hosts and (left := deadline - SYSTEM_CLOCK.monotonic()) > 0:
            waiting.poll(left * 1000)
            self._drain_wake()
            self._bury()
        for pid in self._hosts:
            kill(pid)
        sweep()


def _preload(names: tuple[str, ...]) -> tuple[str, ...]:
    """Import what the user wants warm; returns a sentence for each module that cannot be, or that started threads."""
    warnings: list[str] = []
    for name in names:
        before = _threads()
        try:
            importlib.import_module(name)
        except Exception as error:  # noqa: BLE001 -- a module may raise anything when it is imported, and hosts work without it
            warnings.append(f"cannot preload {name}: {error}")
        if _threads() > before:
            warnings.append(f"preloading {name} started threads, which forked workers do not have; do not preload it")
    return tuple(warnings)


def _threads() -> int:
    try:
        return len(os.listdir("/proc/self/task"))  # noqa: PTH208 -- only their number is asked
    except OSError:
        return 0


def load_entry(entry: str) -> HostMain:
    """The function that ``module:function`` names; raises what its import raises."""
    module, _, name = entry.partition(":")
    main: HostMain = getattr(importlib.import_module(module), name)
    return main


def run_host(main: HostMain, options: Any, order: _Order, sock: socket.socket) -> NoReturn:
    """Be a host until its main ends the process; a host that fails says why on stderr and exits with 1."""
    configure, fork = order
    try:
        become_subreaper()
        main(
            sock,
            name=fork.name,
            logs=Path(os.fsdecode(configure.logs)),
            progress=Path(os.fsdecode(fork.progress)),
            environ=dict(os.environ),  # noqa: TID251 -- the engine made this environment, for its hosts, from its one snapshot
            options=options,
        )
    except SystemExit as leaving:
        os._exit(leaving.code if isinstance(leaving.code, int) else 0)
    except BaseException:  # noqa: BLE001 -- nothing may unwind into the zygote's frames, and the engine shows the last lines
        with contextlib.suppress(Exception):
            traceback.print_exc()
        os._exit(1)
    os._exit(0)


def convert_options(main: HostMain, options: dict[str, Any]) -> Any:
    """The options as what the parameter `options` of a host's main is annotated with; raises `msgspec.ValidationError`."""
    wanted = typing.get_type_hints(main).get("options", dict[str, Any])
    return msgspec.convert(options, type=wanted)


def _close_inherited(first: int) -> None:
    """Close what whoever started the engine had left open for its children: tasks must not hold that."""
    os.closerange(first, os.sysconf("SC_OPEN_MAX"))


def main(arguments: list[str]) -> int:
    """The zygote, or with ``host`` one exec'ed host."""
    os.set_inheritable(CONTROL_FD, False)
    if arguments == ["host"]:
        with os.fdopen(ORDER_FD, "rb") as file:
            order = msgspec.msgpack.decode(file.read(), type=_Order)
        _close_inherited(CONTROL_FD + 1)
        entry = load_entry(order[0].entry)
        run_host(entry, convert_options(entry, order[0].options), order, socket.socket(fileno=CONTROL_FD))
    _close_inherited(CONTROL_FD + 1)
    return Zygote(socket.socket(fileno=CONTROL_FD)).run()
