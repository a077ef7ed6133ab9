"""An engine in the background: a process of its own session that works, lingers for viewers, and leaves by itself.

`engine.session.launch` starts it and waits for its one line of reply; from then on it is reached over its socket.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from .clock import SYSTEM_CLOCK, Clock
from .errors import EngineError
from .events.events import RunFinished
from .foreground import engine_at_work, exit_code, plain_errors, prepare, write_report
from .orchestrator import Orchestrator
from .session.launch import LaunchReply, RunRequest
from .session.signals import StopSignals
from .storage.folder import StateFolder, check_private
from .tasks.model import State

_log = logging.getLogger("mi4.engine.background")

_BUSY = (State.QUEUED, State.LEASED, State.RUNNING, State.BACKOFF, State.CANCELLING)
_LOOK_AGAIN = 0.25
"""Seconds between two looks at whether the engine is still wanted."""
_LOG_LIMIT = 8 * 1024 * 1024
"""Bytes of ``engine.log`` beyond which a new engine starts a new one, keeping the old."""


class Linger:
    """Decides when an engine that nobody needs may leave. State, owned by this object: since when nobody needs it."""

    def __init__(self, seconds: float, clock: Clock) -> None:
        self._seconds = seconds
        self._clock = clock
        self._since: float | None = None

    def is_over(self, *, needed: bool) -> bool:
        """Whether it has not been needed for all those seconds, given that it is, or is not, `needed` now."""
        if needed:
            self._since = None
            return False
        now = self._clock.monotonic()
        if self._since is None:
            self._since = now
        return now - self._since >= self._seconds


async def run_background(
    request: RunRequest,
    announce: Callable[[LaunchReply], None],
    *,
    log_to_file: bool = True,
    clock: Clock = SYSTEM_CLOCK,
) -> int:
    """Work and stay until `Linger` is over or somebody stops the engine; returns the exit status. Raises as `run_foreground`.

    `announce` is called once, when the tasks of the request are on disk.
    """
    signals = StopSignals(_log.warning)
    with signals.installed(), plain_errors():
        prepared = prepare(request)
        if log_to_file:
            _write_to_log(StateFolder.open(Path(request.folder)))
        async with engine_at_work(request, prepared, signals) as (orchestrator, submission):
            announce(
                LaunchReply(
                    pid=os.getpid(),
                    accepted=len(submission.accepted),
                    already_done=len(submission.already_done),
                    warnings=prepared.warnings,
                )
            )
            finished = await _stay(orchestrator, Linger(request.linger, clock))
            await write_report(orchestrator, request, _log.info)
    return exit_code(finished, signalled=signals.code)


async def _stay(orchestrator: Orchestrator, linger: Linger) -> RunFinished:
    """Wait until the engine was told to stop, or is not needed any longer."""
    await orchestrator.wait_idle()
    while not orchestrator.stopping:
        busy = any(orchestrator.projection.counts.get(state, 0) for state in _BUSY)
        if busy:
            await orchestrator.wait_idle()
        if linger.is_over(needed=busy or bool(orchestrator.clients)):
            break
        await asyncio.sleep(_LOOK_AGAIN)
    return orchestrator.summary()


def _write_to_log(folder: StateFolder) -> None:
    """Let everything that this process and those below it print end in the log, which only its owner reads."""
    path = folder.engine_log
    if check_private(path) and path.stat().st_size > _LOG_LIMIT:
        path.replace(path.with_suffix(".log.1"))
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    log = os.open(path, flags, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(nothing, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(nothing)
    os.close(log)


class _ReplyPipe:
    """The one line that the starter waits for. State: whether it was written."""

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        self._descriptor: int | None = descriptor

    def send(self, reply: LaunchReply) -> None:
        """Write it, once; a starter that is gone does not matter."""
        if self._descriptor is None:
            return
        descriptor, self._descriptor = self._descriptor, None
        with open(descriptor, "wb") as pipe:  # noqa: PTH123 - a descriptor, not a path
            try:
                pipe.write(msgspec.json.encode(reply) + b"\n")
                pipe.flush()
            except BrokenPipeError:
                _log.warning("whoever started this engine is gone")


def main(arguments: Sequence[str]) -> int:
    """A background engine: the request comes on stdin, the reply goes to ``--reply-fd``."""
    parser = argparse.ArgumentParser(prog="mi4 engine")
    parser.add_argument("--reply-fd", type=int, required=True)
    pipe = _ReplyPipe(parser.parse_args(arguments).reply_fd)
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=RunRequest)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        return asyncio.run(run_background(request, pipe.send))
    except EngineError as error:
        pipe.send(LaunchReply.of_error(error))
        _log.error("%s", error)
        return error.exit_code
    except BaseException as error:
        pipe.send(LaunchReply(error=f"the engine could not start: {error!r}", exit_code=1))
        raise
