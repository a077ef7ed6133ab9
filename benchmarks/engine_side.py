"""The engine's side of the benchmarks, each in a process of its own: prints one JSON object.

The engine is the real one with everything on: durable state, logs, events, monitor and the session socket; two workers.

    python benchmarks/engine_side.py calls|true|echo COUNT [--viewer]    rate, and CPU microseconds a task by process
    python benchmarks/engine_side.py lines MEGABYTES                     one task that prints so much
    python benchmarks/engine_side.py latency COUNT                       single tasks from another process
    python benchmarks/engine_side.py painted COUNT                       the app on an engine with so many tasks
    python benchmarks/engine_side.py queue COUNT                         pops of the scored queue
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import json
import os
import pty
import random
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psutil
from measuring import LINE

from engine import Orchestrator, Settings, Task
from engine.scheduling.queue import TaskQueue
from engine.session import AddTasks, FindLog, attach

PROGRAM = Path(sys.executable).parent / "mi4-tui"
WARM_UP = 200
FINAL = ("succeeded", "failed", "timed_out", "cancelled", "skipped")
KINDS: dict[str, dict[str, Any]] = {
    "calls": {"kind": "python", "callable": "operator:neg", "args": (1,)},
    "true": {"kind": "shell", "command": ("true",)},
    "echo": {"kind": "shell", "command": ("sh", "-c", "echo hi")},
}


def make_tasks(kind: str, count: int, prefix: str = "t") -> list[Task]:
    return [Task(id=f"{prefix}{number}", **KINDS[kind]) for number in range(count)]


@contextlib.asynccontextmanager
async def open_engine(folder: Path) -> AsyncIterator[Orchestrator]:
    async with Orchestrator(Settings(orchestration={"max_agents": 2}), folder=folder / ".mi4") as orchestrator:
        yield orchestrator


async def run_all(orchestrator: Orchestrator, tasks: list[Task]) -> float:
    """Seconds from submission until all results are durable."""
    start = time.perf_counter()
    results = await orchestrator.run(tasks)
    took = time.perf_counter() - start
    wrong = [row for row in results.tasks.values() if row.state != "succeeded"]
    if wrong or len(results.tasks) != len(tasks):
        raise SystemExit(f"not all tasks succeeded: {wrong[:1]}")
    return took


# CPU time by process and thread.


def cpu_seconds() -> dict[str, float]:
    """Of the engine's loop, its other threads (the database writer), the zygote, the worker hosts, and what runs in these.

    What a worker used that was recycled meanwhile counts as ``recycled``: its host and its children in one number.
    """
    me = psutil.Process()
    spent = dict.fromkeys(("loop", "writer", "zygote", "hosts", "children", "recycled"), 0.0)
    for thread in me.threads():
        spent["loop" if thread.id == me.pid else "writer"] += thread.user_time + thread.system_time
    level = [(child, "zygote") for child in me.children()]
    below = {"zygote": "hosts", "hosts": "children", "children": "children"}
    while level:
        process, place = level.pop()
        with contextlib.suppress(psutil.NoSuchProcess):
            if place == "zygote" and "mi4-tui" in " ".join(process.cmdline()):
                continue  # the viewer of --viewer
            times = process.cpu_times()
            spent[place] += times.user + times.system
            ended = times.children_user + times.children_system
            spent["recycled" if place == "zygote" else "children"] += ended
            level += [(child, below[place]) for child in process.children()]
    return spent


async def rate(kind: str, count: int, *, settle: bool, viewer: bool) -> dict[str, Any]:
    """Tasks a second through a warm engine, and CPU microseconds a task."""
    with tempfile.TemporaryDirectory(prefix="mi4-bench-") as name:
        async with open_engine(Path(name)) as orchestrator:
            await run_all(orchestrator, make_tasks(kind, WARM_UP, "w"))
            with app_attached(Path(name)) if viewer else contextlib.nullcontext():
                while viewer and not orchestrator.clients:
                    await asyncio.sleep(0.02)
                if settle:
                    await asyncio.sleep(2.0)
                tasks = make_tasks(kind, count)
                before, spent = cpu_seconds(), time.process_time()
                took = await run_all(orchestrator, tasks)
                spent = time.process_time() - spent
                after = cpu_seconds()
                if viewer and not orchestrator.clients:
                    raise SystemExit("the app has left")
    cpu = {place: (after[place] - before[place]) / count * 1e6 for place in before}
    return {"rate": count / took, "cost_us": took / count * 1e6, "engine_cpu_us": spent / count * 1e6, "cpu_us": cpu}


async def lines(megabytes: int) -> dict[str, Any]:
    """Megabytes a second of one task that prints lines of 100 bytes."""
    size = megabytes * 1_000_000
    with tempfile.TemporaryDirectory(prefix="mi4-bench-") as name:
        async with open_engine(Path(name)) as orchestrator:
            await run_all(orchestrator, make_tasks("true", 2, "w"))
            task = Task(id="lines", kind="shell", command=f"yes '{LINE}' | head -c {size}", shell=True)
            took = await run_all(orchestrator, [task])
            row = orchestrator.projection.row("lines")
            if row is None or row.lines != size // 100:
                raise SystemExit(f"lines were lost: {row}")
    return {"rate": megabytes / took}


# From another process.


async def serve(folder: Path, count: int) -> None:
    """An engine that says when it is ready and how many viewers it has, until stdin ends. With `count`, tasks wait in it."""
    async with open_engine(folder) as orchestrator:
        await run_all(orchestrator, make_tasks("true", 20, "w") + make_tasks("calls", 20, "v"))
        sleepers = [Task(id=f"sleeper-{n}", kind="shell", command=("sleep", "1000")) for n in range(count)]
        if sleepers:
            await orchestrator.submit(sleepers)
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(0, ended.set)
        print("ready", flush=True)
        seen = 0
        while not ended.is_set():
            await asyncio.sleep(0.002 if count else 0.5)
            if orchestrator.clients != seen:
                seen = orchestrator.clients
                print(time.time(), flush=True)
        orchestrator.stop(now=True)


@contextlib.contextmanager
def engine_process(folder: Path, count: int = 0) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, __file__, "serve", str(count), "--folder", folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise SystemExit("the engine did not start")
        try:
            yield process
        finally:
            process.stdin.close()
            process.wait(30)


async def latency(count: int) -> dict[str, Any]:
    """Milliseconds from sending a task to an idle engine until its result can be read, and until a frame shows it to a viewer."""
    read: list[float] = []
    shown: list[float] = []
    with tempfile.TemporaryDirectory(prefix="mi4-bench-") as name, engine_process(Path(name)):
        async with await attach(Path(name) / ".mi4") as client:
            for number in range(2 * count):
                await asyncio.sleep(0.12 + 0.1 * random.random())
                task_id, start = f"single-{number}", time.perf_counter()
                await client.ask(AddTasks(tasks=(Task(id=task_id, **KINDS["true"]),)))
                if number % 2:
                    while (await client.ask(FindLog(id=task_id))).data["state"] not in FINAL:
                        await asyncio.sleep(0.001)
                    read.append((time.perf_counter() - start) * 1000)
                    continue
                while (row := client.projection.row(task_id)) is None or row.state not in FINAL:
                    await asyncio.sleep(0.001)
                shown.append((time.perf_counter() - start) * 1000)
    return {"read_ms": statistics.median(read), "shown_ms": statistics.median(shown)}


# The app.


@contextlib.contextmanager
def app_attached(folder: Path, sought: bytes = b"") -> Iterator[dict[str, float]]:
    """`mi4-tui attach` in a terminal of its own; the time (epoch seconds) when it first drew `sought` is put in the dict."""
    seen = {"spawned": time.time()}
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 140, 0, 0))
    process = subprocess.Popen(
        [PROGRAM, "attach"], cwd=folder, stdin=follower, stdout=follower, stderr=follower, start_new_session=True,
        env={**os.environ, "TERM": "xterm-256color"},
    )  # fmt: skip
    os.close(follower)
    reader = threading.Thread(target=_drain, args=(leader, sought, seen), daemon=True)
    reader.start()
    try:
        yield seen
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join(5)
        os.close(leader)


def _drain(leader: int, sought: bytes, seen: dict[str, float]) -> None:
    drawn = b""
    with contextlib.suppress(OSError):  # the other side is closed
        while chunk := os.read(leader, 65536):
            if sought and "painted" not in seen:
                drawn += chunk
                if sought in drawn:
                    seen["painted"] = time.time()


def painted(count: int) -> dict[str, Any]:
    """Seconds from attaching, and from the start of the program, until the app has drawn tasks."""
    with tempfile.TemporaryDirectory(prefix="mi4-bench-") as name, engine_process(Path(name), count) as process:
        assert process.stdout is not None
        with app_attached(Path(name), b"sleeper-") as seen:
            attached = float(process.stdout.readline())
            deadline = time.monotonic() + 20
            while "painted" not in seen:
                if time.monotonic() > deadline:
                    raise SystemExit("the app drew no task")
                time.sleep(0.002)
    return {"after_attach_s": seen["painted"] - attached, "after_spawn_s": seen["painted"] - seen["spawned"]}


def queue(count: int) -> dict[str, Any]:
    """Microseconds a pop, with lanes for three categories."""
    chance = random.Random(7)
    names = ("", "build", "test", "docs")
    waiting = TaskQueue(names[1:])
    for key in range(count):
        waiting.put(key, chance.uniform(100, 400), names[key % 4])
    start = time.perf_counter()
    popped = 0
    while waiting.get_next_task() is not None:
        popped += 1
    took = time.perf_counter() - start
    if popped != count:
        raise SystemExit(f"{count - popped} tasks were lost")
    return {"pop_us": took / count * 1e6}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("what", choices=[*KINDS, "lines", "latency", "painted", "queue", "serve"])
    parser.add_argument("count", type=int)
    parser.add_argument("--viewer", action="store_true", help="with the app attached in a terminal of its own")
    parser.add_argument("--settle", action="store_true", help="wait as long before the run as with --viewer")
    parser.add_argument("--folder", type=Path, default=Path())
    options = parser.parse_args()
    if options.what == "serve":
        asyncio.run(serve(options.folder, options.count))
        return
    if options.what in KINDS:
        settle = options.settle or options.viewer
        figures = asyncio.run(rate(options.what, options.count, settle=settle, viewer=options.viewer))
    elif options.what in ("lines", "latency"):
        figures = asyncio.run({"lines": lines, "latency": latency}[options.what](options.count))
    else:
        figures = {"painted": painted, "queue": queue}[options.what](options.count)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
