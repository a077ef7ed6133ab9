"""The real program, from outside: started as a user would, looked at through what it prints and what the system shows of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

PROGRAM = Path(sys.executable).parent / "mi4-tui"
PATIENCE = 60.0
"""Seconds after which a wait gives up; long, because a test that waits for the right thing ends as soon as it is there."""

Event = dict[str, Any]
T = TypeVar("T")


def eventually(
    look: Callable[[], T], what: str, seconds: float = PATIENCE, context: Callable[[], str] | None = None
) -> T:
    """Wait until `look` returns something true, and return that; else fail and show the `context`."""
    deadline = time.monotonic() + seconds
    while True:
        if found := look():
            return found
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds:g} s for {what}\n{context() if context else ''}")
        time.sleep(0.02)


@dataclass
class Running:
    """A run that was started and is read line by line."""

    process: subprocess.Popen[str]
    events: list[Event] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    """Lines of stdout that are not JSON."""
    complaints: list[str] = field(default_factory=list)
    """Lines of stderr."""

    def __post_init__(self) -> None:
        self._readers = [threading.Thread(target=self._read), threading.Thread(target=self._read_errors)]
        for reader in self._readers:
            reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stdout:
            for line in stdout:
                try:
                    self.events.append(json.loads(line))
                except ValueError:
                    self.lines.append(line.rstrip("\n"))

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stderr:
            self.complaints.extend(line.rstrip("\n") for line in stderr)

    @property
    def pid(self) -> int:
        return self.process.pid

    def named(self, event: str, task_id: str | None = None) -> list[Event]:
        """Events of this name that were printed until now."""
        return [e for e in [*self.events] if e.get("event") == event and task_id in (None, e.get("task_id"))]

    def until(self, event: str, *, task_id: str | None = None, count: int = 1) -> list[Event]:
        """Wait until `count` such events were printed."""

        def enough() -> list[Event]:
            found = self.named(event, task_id)
            if len(found) < count and self.process.poll() is not None:
                self.join()
                found = self.named(event, task_id)
                assert len(found) >= count, f"ended with {self.process.returncode}: {self.complaints[-5:]}"
            return found if len(found) >= count else []

        return eventually(enough, f"{count} x {event}")

    def join(self, seconds: float = PATIENCE) -> int:
        """Wait for the end and return the exit status."""
        status = self.process.wait(seconds)
        for reader in self._readers:
            reader.join(seconds)
        return status

    @property
    def summary(self) -> Event:
        """The last line, which must be `run_finished`."""
        assert self.events, f"no event: {self.complaints}"
        assert self.events[-1]["event"] == "run_finished", self.events[-1]
        return self.events[-1]

    def states(self) -> dict[str, str]:
        """Final state of each task that ended in this run."""
        return {e["task_id"]: e["state"] for e in self.named("task_finished")}


@dataclass
class Program:
    """`mi4-tui` on one state folder in one working folder."""

    folder: Path
    state: Path
    started: list[Running] = field(default_factory=list)

    def command(self, *arguments: str | Path) -> list[str]:
        given = [str(argument) for argument in arguments]
        end = given.index("--") if "--" in given else len(given)
        return [str(PROGRAM), *given[:end], "--state-dir", str(self.state), *given[end:]]

    def run(self, *arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run to the end, whatever the status."""
        options = {"cwd": self.folder, "stdin": subprocess.DEVNULL, "timeout": 100, **options}
        return subprocess.run(self.command(*arguments), capture_output=True, text=True, check=False, **options)

    def json(self, *arguments: str | Path) -> Any:
        """What a verb prints with --json."""
        done = self.run(*arguments, "--json")
        assert done.stdout, done.stderr
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        return lines[0] if len(lines) == 1 else lines

    def start(self, *arguments: str | Path, **options: Any) -> Running:
        """Start a headless run whose events are read as they come."""
        process = subprocess.Popen(
            self.command(*arguments, "--json"),
            cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True, **options,
        )  # fmt: skip
        self.started.append(Running(process))
        return self.started[-1]

    def write(self, tasks: Sequence[dict[str, Any]], name: str = "backlog.json") -> Path:
        """A task file in the working folder."""
        path = self.folder / name
        path.write_text(json.dumps(list(tasks)))
        return path

    def close(self) -> None:
        """End what a failed test left, by the ids of what it started."""
        for running in self.started:
            if running.process.poll() is None:
                running.process.send_signal(signal.SIGCONT)
                running.process.kill()
            running.join()


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    """The program in an empty folder."""
    folder = tmp_path / "work"
    folder.mkdir()
    program = Program(folder, folder / ".mi4")
    yield program
    program.close()


@dataclass(frozen=True)
class Alive:
    """One process, told from a later one with the same id by its start time."""

    pid: int
    start_time: str
    command: str

    @property
    def is_alive(self) -> bool:
        """False for a zombie too: nothing of it runs."""
        stat = read_stat(self.pid)
        return stat is not None and stat[2] == self.start_time and stat[0] not in "ZX"


def read_stat(pid: int) -> tuple[str, int, str] | None:
    """State letter, parent and start time of a process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return fields[0], int(fields[1]), fields[19]


def alive(pid: int) -> Alive | None:
    stat = read_stat(pid)
    if stat is None or stat[0] in "ZX":
        return None
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return None
    return Alive(pid, stat[2], command.strip())


def all_pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def below(pid: int) -> list[Alive]:
    """Every living descendant of a process."""
    children: dict[int, list[int]] = {}
    for each in all_pids():
        stat = read_stat(each)
        if stat is not None:
            children.setdefault(stat[1], []).append(each)
    found, todo = [], [pid]
    while todo:
        for child in children.get(todo.pop(), []):
            todo.append(child)
            if process := alive(child):
                found.append(process)
    return found


def marked(run_id: str) -> list[Alive]:
    """Every living process that carries the mark of a run in its environment, wherever it hangs."""
    mark = f"MI4_RUN={run_id}".encode()
    found = []
    for pid in all_pids():
        try:
            carries = mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if carries and pid != os.getpid() and (process := alive(pid)):
            found.append(process)
    return found


@dataclass
class Everything:
    """All processes of one run: those below its engine at one moment, and later whatever carries its mark."""

    run_id: str
    seen: set[Alive]

    def left(self) -> list[Alive]:
        return sorted({p for p in self.seen if p.is_alive} | set(marked(self.run_id)), key=lambda p: p.pid)

    def assert_gone(self) -> None:
        """Nothing of the run is alive within two seconds; ten where other tests share the processors."""
        seconds = 10.0 if os.environ.get("PYTEST_XDIST_WORKER") else 2.0
        deadline = time.monotonic() + seconds
        while (left := self.left()) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert left == [], f"alive after {seconds:g} s"


@pytest.fixture(scope="session")
def processes() -> Any:
    """The functions above, for tests (which cannot import from a conftest)."""

    class Tools:
        alive = staticmethod(alive)
        below = staticmethod(below)
        marked = staticmethod(marked)
        eventually = staticmethod(eventually)

        @staticmethod
        def of(run_id: str, engine: int) -> Everything:
            return Everything(run_id, {*below(engine), *marked(run_id)})

    return Tools
