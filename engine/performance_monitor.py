"""The monitor: metrics, bottlenecks and report of a run in this process, in another one, or stored.

`PerformanceMonitor` works synchronously, and on the command line as ``python -m engine.performance_monitor``. The engine's own side
is `engine.monitoring.observer`.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import msgspec

from .clock import SYSTEM_CLOCK, Clock
from .config import MonitoringSettings
from .errors import EngineError, SessionLostError, UsageError
from .monitoring.bottlenecks import Finding, detect
from .monitoring.metrics import PerformanceMetrics
from .monitoring.observer import Observer, newest_observer
from .monitoring.report import build_report, iso, write_report
from .monitoring.stored import StoredRun, read_last_run
from .session.lock import LockInfo, read_lock
from .session.protocol import Answer, Ask, Attach, FromServer, Goodbye, Update, View, WriteReport
from .session.socket_path import is_ours, peer_of
from .session.wire import decode_from_server, encode
from .workers.protocol import FrameSplitter

__all__ = ["DEFAULT_FOLDER", "LOOK_TIMEOUT", "TIMEOUT", "Observer", "PerformanceMonitor", "main"]

DEFAULT_FOLDER = ".mi4"
"""The state folder, in the working folder, unless another is named."""
TIMEOUT = 10.0
"""Seconds that an engine in another process has to make its report."""
LOOK_TIMEOUT = 3.0
"""Seconds within which it tells its metrics, unless they are switched off."""
_NO_METRICS = "there are no metrics: monitoring.enable_metrics is off, or the engine has only just started"
T = TypeVar("T")


class PerformanceMonitor:
    """Metrics and report of the engine on a state folder, without waiting for anybody's event loop.

    An engine in this process is read directly, one in another process over its socket; when none runs, the folder's last run is
    told. Without a folder it is the one in the working folder, or that of the newest engine in this process. Every method raises
    `EngineError`: nothing has run there, the engine does not answer, or metrics are switched off.
    """

    def __init__(self, folder: Path | str | None = None, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self.folder = Path(DEFAULT_FOLDER if folder is None else folder).absolute()
        """The state folder, absolute."""
        self._any = folder is None
        self._clock = clock

    def __repr__(self) -> str:
        return f"<PerformanceMonitor of {self.folder}>"

    def get_current_metrics(self) -> PerformanceMetrics:
        """The numbers of this moment, or of the end of the last run."""
        metrics = self._ask(
            live=lambda observer: observer.metrics(),
            attached=lambda info: _look(info, self._clock)[0],
            stored=lambda: read_last_run(self.folder).metrics,
        )
        if metrics is None:
            raise EngineError(_NO_METRICS)
        return metrics

    def get_bottlenecks(self) -> tuple[Finding, ...]:
        """What slows the run down, worst first."""
        return self._ask(
            live=lambda observer: observer.findings(),
            attached=lambda info: _look(info, self._clock)[1],
            stored=lambda: _stored_findings(read_last_run(self.folder)),
        )

    def generate_report(self) -> dict[str, Any]:
        """The whole report as JSON holds it."""
        return self._ask(
            live=lambda observer: observer.report(),
            attached=lambda info: _fetch_report(info, self._clock),
            stored=lambda: _stored_report(read_last_run(self.folder), self._clock.time()),
        )

    def export_report(self, path: Path | str) -> Path:
        """Write the report to `path`, whole or not at all, and return the path."""
        target = Path(path).absolute()
        write_report(target, self.generate_report())
        return target

    def _ask(self, *, live: Callable[[Observer], T], attached: Callable[[LockInfo], T], stored: Callable[[], T]) -> T:
        observer = newest_observer(self.folder, or_any=self._any)
        folder = self.folder if observer is None else observer.folder
        info = read_lock(folder)
        if info is not None and info.pid != os.getpid():
            return attached(info)
        return stored() if observer is None else live(observer)


# An engine in another process


def _converse(
    info: LockInfo, messages: Sequence[Attach | Ask], clock: Clock, *, seconds: float = TIMEOUT
) -> Iterator[FromServer]:
    """Send to the engine and yield what it says for so long. Raises `SessionLostError`, also when the time is over."""
    if not info.socket:
        raise SessionLostError(f"the engine (process {info.pid}) has no session socket yet; try again")
    deadline = clock.monotonic() + seconds
    splitter = FrameSplitter()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(seconds)
        try:
            connection.connect(info.socket)
            if not is_ours(peer_of(connection)):
                raise SessionLostError(f"the engine at {info.socket} belongs to another user")
            for message in messages:
                connection.sendall(encode(message))
            while (left := deadline - clock.monotonic()) > 0:
                connection.settimeout(left)
                data = connection.recv(1 << 18)
                if not data:
                    raise SessionLostError("the engine has ended")
                yield from map(decode_from_server, splitter.feed(data))
        except TimeoutError:
            pass
        except OSError as error:
            raise SessionLostError(f"the engine (process {info.pid}) cannot be reached: {error.strerror}") from error
    raise SessionLostError(f"the engine (process {info.pid}) does not answer")


def _fetch_report(info: LockInfo, clock: Clock) -> dict[str, Any]:
    for message in _converse(info, [Attach(view=None), Ask(number=1, command=WriteReport())], clock):
        if isinstance(message, Goodbye):
            break
        if isinstance(message, Answer) and message.number == 1:
            if not message.reply.ok:
                raise EngineError(message.reply.message)
            report: dict[str, Any] = message.reply.data["report"]
            return report
    raise SessionLostError("the engine ended before it answered")


def _look(info: LockInfo, clock: Clock) -> tuple[PerformanceMetrics | None, tuple[Finding, ...]]:
    """Metrics and bottlenecks as the engine last told its viewers, without the tasks; no metrics when none come."""
    findings: tuple[Finding, ...] = ()
    attached = False
    try:
        for message in _converse(info, [Attach(view=View(workers=(), rows=False))], clock, seconds=LOOK_TIMEOUT):
            if isinstance(message, Goodbye):
                break
            if isinstance(message, Update):
                attached = True
                frame = message.frame
                if frame.findings is not None:
                    findings = msgspec.convert(tuple(frame.findings), tuple[Finding, ...])
                if frame.metrics is not None:
                    return msgspec.convert(frame.metrics, PerformanceMetrics), findings
    except SessionLostError:
        if not attached:
            raise
    return None, findings


# Stored state


def _stored_findings(run: StoredRun) -> tuple[Finding, ...]:
    """Judged by the settings of that run, or by the defaults where another version wrote them."""
    codex = run.settings.get("codex", {})
    try:
        settings = MonitoringSettings.model_validate(run.settings.get("monitoring", {}))
    except ValueError:
        settings = MonitoringSettings()
    return detect(run.metrics, settings, reuse_enabled=bool(codex.get("enable_process_reuse", True)))


def _stored_report(run: StoredRun, now: float) -> dict[str, Any]:
    return build_report(
        run.rows, run.metrics, _stored_findings(run), run.settings, msgspec.structs.asdict(run.run), now=now
    )


# The command


def main(argv: Sequence[str] | None = None) -> int:
    """Print metrics until interrupted (or once); returns the exit status."""
    options = _options(argv)
    monitor = PerformanceMonitor(options.state_dir)
    pause = threading.Event()
    try:
        while True:
            sys.stdout.write(_json_line(monitor) if options.json else _text(monitor))
            sys.stdout.flush()
            if options.once:
                return 0
            pause.wait(options.interval)
    except EngineError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read us has left; what is still buffered must not be tried again when Python ends.
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


class _Parser(argparse.ArgumentParser):
    """Wrong use ends with the exit status that all our commands have for it."""

    def error(self, message: str) -> NoReturn:
        self.exit(UsageError.exit_code, f"{self.prog}: {message}; see --help\n")


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = _Parser(prog="python -m engine.performance_monitor", description="Metrics and bottlenecks of a run.")
    parser.add_argument("--once", action="store_true", help="print once and leave")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--interval", type=float, default=1.0, metavar="S", help="seconds between lines (default 1)")
    parser.add_argument("--state-dir", default=DEFAULT_FOLDER, metavar="DIR", help="state folder (default .mi4)")
    options = parser.parse_args(argv)
    if not 0.1 <= options.interval <= 86400:
        parser.error("--interval must be from 0.1 to 86400 seconds")
    return options


def _json_line(monitor: PerformanceMonitor) -> str:
    metrics = monitor.get_current_metrics()
    line = {
        "current_metrics": msgspec.structs.asdict(metrics),
        "bottlenecks": [finding.as_dict() for finding in monitor.get_bottlenecks()],
    }
    return msgspec.json.encode(line).decode() + "\n"


def _text(monitor: PerformanceMonitor) -> str:
    metrics = monitor.get_current_metrics()
    parts = [
        iso(metrics.time),
        f"{metrics.tasks_completed} succeeded",
        f"{metrics.tasks_failed + metrics.tasks_timed_out} failed",
        _part("{} in progress", metrics.tasks_in_progress),
        _part("mean {:.2f} s", metrics.average_task_time),
        _part("{:.1f} tasks/min", metrics.throughput_tasks_per_minute),
        _part("reuse {:.0f} %", metrics.process_pool_reuse_rate),
        _part("cache {:.0f} %", metrics.cache_hit_rate),
        _part("CPU {:.0f} %", metrics.cpu_usage),
        "" if metrics.memory_usage is None else f"RSS {metrics.memory_usage / 2**20:.0f} MiB",
    ]
    lines = ["  ".join(part for part in parts if part)]
    lines += [f"  {found.severity}: {found.description}. {found.recommendation}" for found in monitor.get_bottlenecks()]
    return "\n".join(lines) + "\n"


def _part(words: str, value: float | None) -> str:
    return "" if value is None else words.format(value)


if __name__ == "__main__":
    sys.exit(main())
