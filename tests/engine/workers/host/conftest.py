"""A real host process at the other end of a socket, and a look at what it leaves behind."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.tasks.model import AttemptResult
from engine.workers.launch import package_root
from engine.workers.progress import read_progress
from engine.workers.protocol import (
    FrameSplitter,
    Hello,
    Output,
    Recalled,
    Results,
    Run,
    Started,
    Work,
    decode_from_host,
    encode,
)

DEADLINE = 30.0
"""Seconds after which a test gives up waiting; never a measure of speed."""
BOOT = """
import json, socket, sys
root, fd, arguments = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
sys.path.insert(0, root)
from pathlib import Path
from engine.workers.host import HostOptions, host_main
host_main(socket.socket(fileno=fd), name="w1.1", logs=Path(arguments["logs"]), progress=Path(arguments["page"]),
          environ=arguments["environ"], options=HostOptions(**arguments["options"]))
"""


class HostProcess:
    """Speaks to a host and keeps all that it said."""

    def __init__(self, folder: Path, environ: dict[str, str], options: dict[str, object]) -> None:
        self.run_id = uuid.uuid4().hex
        self.logs = folder / "logs"
        self.logs.mkdir(exist_ok=True)
        self.page = folder / "page"
        self.said: list[object] = []
        self.results: dict[int, AttemptResult] = {}
        self._leases = 0
        self._splitter = FrameSplitter()
        ours, theirs = socket.socketpair()
        self.sock = ours
        arguments = {
            "logs": str(self.logs),
            "page": str(self.page),
            "environ": environ,
            "options": {"run_id": self.run_id, **options},
        }
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", BOOT, str(package_root()), str(theirs.fileno()), json.dumps(arguments)],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=folder,
            start_new_session=True,
        )
        theirs.close()
        self.until(lambda: any(isinstance(message, Hello) for message in self.said))

    @property
    def pid(self) -> int:
        return self.process.pid

    def work(self, kind: str = "shell", **fields: object) -> Work:
        """An attempt with the next lease."""
        self._leases += 1
        fields.setdefault("task_id", f"t{self._leases}")
        return Work(key=self._leases, attempt=1, lease=self._leases, kind=kind, **fields)  # type: ignore[arg-type]

    def sh(self, script: str, **fields: object) -> Work:
        return self.work(command=script, shell=True, **fields)

    def call(self, name: str, *args: object, **fields: object) -> Work:
        return self.work("python", callable=name, args=args, **fields)

    def send(self, *messages: object) -> None:
        self.sock.settimeout(DEADLINE)
        self.sock.sendall(b"".join(encode(message) for message in messages))  # type: ignore[arg-type]

    def give(self, *items: Work) -> None:
        self.send(Run(items))

    def run(self, *items: Work) -> list[AttemptResult]:
        """Run these and wait for all results."""
        self.give(*items)
        return [self.result(work) for work in items]

    def one(self, work: Work) -> AttemptResult:
        return self.run(work)[0]

    def result(self, work: Work) -> AttemptResult:
        self.until(lambda: work.key in self.results, f"no result of {work.task_id}")
        return self.results[work.key]

    def until(self, condition: Callable[[], object], what: str = "") -> None:
        """Read what the host says until the condition holds."""
        end = time.monotonic() + DEADLINE
        self.sock.settimeout(0.02)
        while not condition():
            assert time.monotonic() < end, f"{what or 'it never happened'}; said: {self.said[-3:]}"
            try:
                data = self.sock.recv(1 << 20)
            except TimeoutError:
                continue
            assert data, f"the host is gone: {self.process.stderr.read().decode()}"
            for body in self._splitter.feed(data):
                self._hear(decode_from_host(body))

    def _hear(self, message: object) -> None:
        self.said.append(message)
        if isinstance(message, Results):
            for result in message.items:
                assert result.key not in self.results, "two results of one attempt"
                self.results[result.key] = result

    def heard(self, kind: type, key: int | None = None) -> list:
        return [m for m in self.said if isinstance(m, kind) and (key is None or m.key == key)]

    def started(self, work: Work) -> bool:
        return bool(self.heard(Started, work.key))

    def printed(self, work: Work) -> list[Output]:
        return self.heard(Output, work.key)

    def recalled(self) -> list[Recalled]:
        return self.heard(Recalled)

    def lease(self) -> int:
        progress = read_progress(self.page)
        assert progress is not None
        return progress.lease

    def marked(self) -> list[int]:
        """Living processes that carry the mark of this run."""
        return [pid for pid in pids() if b"MI4_RUN=" + self.run_id.encode() in environ_of(pid)]

    def leave(self) -> int:
        """Close our end; the exit status of the host."""
        self.sock.close()
        return self.process.wait(DEADLINE)


def pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def environ_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def wait_until(condition: Callable[[], object], what: str = "") -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, what or "it never happened"
        time.sleep(0.005)


@pytest.fixture
def start_host(tmp_path: Path) -> Iterator[Callable[..., HostProcess]]:
    """Starts hosts; at the end of the test every one of them must leave nothing behind."""
    hosts: list[HostProcess] = []

    def start(environ: dict[str, str] | None = None, **options: object) -> HostProcess:
        folder = tmp_path / f"host{len(hosts)}"
        folder.mkdir()
        hosts.append(HostProcess(folder, environ or {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}, options))
        return hosts[-1]

    yield start
    for host in hosts:
        host.leave()
        host.process.stderr.close()
        wait_until(lambda host=host: not host.marked(), f"left behind: {host.marked()}")


@pytest.fixture
def host(start_host: Callable[..., HostProcess]) -> HostProcess:
    return start_host(grace_seconds=0.3)


@pytest.fixture
def until() -> Callable[..., None]:
    return wait_until


@pytest.fixture
def project(tmp_path: Path) -> Callable[..., str]:
    """Writes modules into a folder and gives its name."""

    def write(**modules: str) -> str:
        folder = tmp_path / "project"
        for name, text in modules.items():
            file = folder / (name.replace("__", "/") + ".py")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return str(folder)

    return write
