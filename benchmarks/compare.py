"""The speed of the program against its peers: prints a table and writes it to `benchmarks/RESULTS.md`.

Installs the peers that it can (huey into `benchmarks/.peers`; GNU parallel with apt when run as root). All work goes through the
real engine with durable state, logs, events, monitor and socket on, and two workers.

    python benchmarks/compare.py [--rounds N] [--quick] [--only WORD]
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import peers
from measuring import HERE, Row, Subject, figures_of, run_rounds, table

RESULTS = HERE / "RESULTS.md"
PROGRAM = Path(sys.executable).parent / "mi4-tui"


@dataclass(frozen=True)
class Sizes:
    """How much work one round does."""

    calls: int = 20_000
    huey_calls: int = 2_000
    commands: int = 5_000
    parallel_commands: int = 1_000
    few: int = 1_000
    many: int = 50_000
    queue: int = 100_000
    megabytes: int = 300
    singles: int = 10
    waiting: int = 10_000
    watched: int = 10_000
    naive_calls: int = 200
    naive_commands: int = 2_000


QUICK = Sizes(
    calls=4_000, huey_calls=300, commands=500, parallel_commands=100, many=5_000, megabytes=60, singles=4, watched=3_000,
    naive_calls=40, naive_commands=500,
)  # fmt: skip

Group = tuple[str, Sequence[Subject], Sequence[Row]]


def engine(figure: str, *arguments: object) -> Callable[[], float]:
    """A measurement of the engine's side by the name of one of its figures."""
    return lambda: float(figures_of("engine_side.py", *arguments)[figure])


def calls_group(sizes: Sizes) -> Group:
    ours = Subject("MI4", engine("rate", "calls", sizes.calls))
    executor = Subject("ProcessPoolExecutor(2)", partial(peers.executor_calls, sizes.calls))
    huey = Subject("huey, SQLite, fsync", partial(peers.huey_calls, sizes.huey_calls))
    naive = Subject("naive", partial(peers.naive, "calls", sizes.naive_calls))
    title = f"{sizes.calls:,} no-op Python callables"
    rows = [
        Row(title, "/s", ours, executor, at_least=1.5),
        Row(title, "/s", ours, huey, at_least=10),
        Row(title, "/s", ours, naive),
    ]
    return "calls", [executor, ours, huey, naive], rows


def commands_group(sizes: Sizes) -> Group:
    ours = Subject("MI4", engine("rate", "true", sizes.commands))
    xargs = Subject("xargs -P2 -n1", partial(peers.xargs, "true", sizes.commands))
    parallel = Subject("GNU parallel -j2", partial(peers.parallel, sizes.parallel_commands))
    naive = Subject("naive", partial(peers.naive, "true", sizes.naive_commands))
    title = f"{sizes.commands:,} shell tasks 'true'"
    rows = [
        Row(title, "/s", ours, xargs, at_least=0.9),
        Row(title, "/s", ours, parallel, at_least=4),
        Row(title, "/s", ours, naive),
    ]
    return "commands", [xargs, ours, parallel, naive], rows


def captured_group(sizes: Sizes) -> Group:
    ours = Subject("MI4", engine("rate", "echo", sizes.commands))
    xargs = Subject("xargs -P2 -n1", partial(peers.xargs, "echo", sizes.commands))
    title = f"{sizes.commands:,} x sh -c 'echo hi', captured and stored"
    return "captured", [xargs, ours], [Row(title, "/s", ours, xargs, at_least=0.85)]


def size_group(sizes: Sizes) -> Group:
    few = Subject(f"{sizes.few:,} tasks", engine("cost_us", "calls", sizes.few))
    many = Subject(f"{sizes.many:,} tasks", engine("cost_us", "calls", sizes.many))
    return "size", [few, many], [Row(f"cost of a task among {sizes.many:,}", "us", many, few, at_most=1.3)]


def queue_group(sizes: Sizes) -> Group:
    pops = Subject("queue", engine("pop_us", "queue", sizes.queue))
    return "queue", [pops], [Row(f"pop of the scored queue, {sizes.queue:,} waiting", "us", pops, at_most=20)]


def lines_group(sizes: Sizes) -> Group:
    ours = Subject("MI4", engine("rate", "lines", sizes.megabytes))
    bare = Subject("os.read of 64 KiB", partial(peers.bare_lines, sizes.megabytes))
    return "lines", [bare, ours], [Row(f"{sizes.megabytes} MB of lines", "MB/s", ours, bare, at_least=0.6)]


def start_group(_sizes: Sizes) -> Group:
    ours = Subject("mi4-tui --help", partial(peers.start_up, [PROGRAM, "--help"]))
    bare = Subject("python -c pass", partial(peers.start_up, [sys.executable, "-c", "pass"]))
    single = Subject("one task headless", partial(peers.in_new_folder, one_task))
    rows = [
        Row("mi4-tui --help", "ms", ours, bare, at_most=4),
        Row("one task, headless, start to end", "s", single, at_most=0.6),
    ]
    return "start", [bare, ours, single], rows


def one_task(folder: Path) -> float:
    """Seconds of a headless run of one command, from the shell's view."""
    file = folder / "tasks.json"
    file.write_text(json.dumps([{"id": "only", "kind": "shell", "command": ["true"]}]))
    start = time.perf_counter()
    subprocess.run(
        [PROGRAM, file, "--no-ui", "--state-dir", folder / "state"], cwd=folder,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True,
    )  # fmt: skip
    return time.perf_counter() - start


def single_group(sizes: Sizes) -> Group:
    shown: list[float] = []

    def read_and_shown() -> float:
        figures = figures_of("engine_side.py", "latency", sizes.singles)
        shown.append(figures["shown_ms"])
        return float(figures["read_ms"])

    read = Subject("single task, result read", read_and_shown)
    seen = Subject("single task, result in a frame", lambda: shown[-1], after=read)
    title = "single task sent by another process to an idle engine, until"
    rows = [
        Row(f"{title} its result can be read (p50)", "ms", read, at_most=30),
        Row(f"{title} a viewer's frame shows it (p50)", "ms", seen, at_most=30),
    ]
    return "single", [read, seen], rows


def app_group(sizes: Sizes) -> Group:
    def mirrored() -> float:
        """CPU of the engine with the app attached over that without: A B B A."""
        figures = [
            figures_of("engine_side.py", "calls", sizes.watched, flag)["engine_cpu_us"]
            for flag in ("--settle", "--viewer", "--viewer", "--settle")
        ]
        return float((figures[1] + figures[2]) / (figures[0] + figures[3]))

    paint = Subject("app painted", engine("after_attach_s", "painted", sizes.waiting))
    cost = Subject("engine CPU with the app over without", mirrored)
    rows = [
        Row(f"app on an engine with {sizes.waiting:,} tasks: painted after attaching", "s", paint, at_most=0.5),
        Row("engine CPU a task, app attached over not attached (ABBA)", "x", cost, at_most=1.05),
    ]
    return "app", [paint, cost], rows


GROUPS = (
    calls_group,
    commands_group,
    captured_group,
    size_group,
    queue_group,
    lines_group,
    start_group,
    single_group,
    app_group,
)


def machine() -> str:
    """Processor, cores, memory and system, one line."""
    model = platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.release()}"


def report(rows: Sequence[Row], *, rounds: int, note: str, load: tuple[float, float], missing: Sequence[str]) -> str:
    """The whole of `RESULTS.md`."""
    found = {"Python": platform.python_version(), "SQLite": sqlite3.sqlite_version, **peers.versions()}
    verdicts = [row.verdict() for row in rows]
    lines = [
        "# Benchmark results",
        "",
        "Written by `make bench`; see [docs/performance.md](../docs/performance.md) for where the time goes.",
        "",
        f"- Machine: {machine()}",
        f"- Date: {dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC; load average {load[0]:.1f} before, {load[1]:.1f} after",
        f"- Versions: {', '.join(f'{name} {version}' for name, version in found.items())}",
        f"- {rounds} interleaved rounds; numbers are medians, the spread is that of the ratio (of the number where there is no peer)",
        f"- Bars: {verdicts.count('pass')} passed, {verdicts.count('MISSED')} missed",
    ]
    lines += [f"- Not installed: {name}" for name in missing]
    lines += [f"- {note}"] if note else []
    return "\n".join(lines) + "\n\n" + table(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one round of little work; RESULTS.md is left alone")
    parser.add_argument("--only", default="", help=f"one group: {', '.join(make.__name__[:-6] for make in GROUPS)}")
    parser.add_argument("--note", default="", help="a line about the machine for RESULTS.md")
    options = parser.parse_args()
    missing = peers.install()
    groups = [make(QUICK if options.quick else Sizes()) for make in GROUPS]
    chosen = [group for group in groups if options.only in ("", group[0])]
    if not chosen:
        parser.error(f"no group is called {options.only!r}")
    rounds = 1 if options.quick else options.rounds
    before = os.getloadavg()[0]
    run_rounds([subjects for _, subjects, _ in chosen], rounds)
    rows = [row for _, _, rows in chosen for row in rows]
    text = report(rows, rounds=rounds, note=options.note, load=(before, os.getloadavg()[0]), missing=missing)
    print(text)
    if not options.quick and not options.only:
        RESULTS.write_text(text)


if __name__ == "__main__":
    main()
