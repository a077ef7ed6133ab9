"""What the engine is compared with: programs of the system and bare loops. Each function measures once; None: not installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from operator import neg
from pathlib import Path

from measuring import HERE, LINE, figures_of

PEERS = HERE / ".peers"
"""A virtual environment of its own, so that no peer can change what the program runs with."""
WARM_UP = 200
_COMMANDS = {"true": ["true"], "echo": ["sh", "-c", "echo hi"]}


def install() -> list[str]:
    """Make what can be installed here; returns one line for each peer that is missing afterwards."""
    missing = []
    if not (PEERS / "bin" / "huey_consumer").exists():
        made = _quietly(sys.executable, "-m", "venv", PEERS) and _quietly(
            PEERS / "bin" / "python", "-m", "pip", "install", "huey"
        )
        if not made:
            missing.append("huey (no package index?)")
    if shutil.which("parallel") is None and os.geteuid() == 0 and shutil.which("apt-get"):
        _quietly("apt-get", "install", "--yes", "parallel")
    missing += [name for name in ("parallel", "xargs") if shutil.which(name) is None]
    return missing


def versions() -> dict[str, str]:
    """Of the peers that are there."""
    found = {}
    if (PEERS / "bin" / "huey_consumer").exists():
        code = "from importlib.metadata import version; print(version('huey'))"
        found["huey"] = _first_line(PEERS / "bin" / "python", "-c", code)
    for program in ("xargs", "parallel"):
        if shutil.which(program):
            found[program] = _first_line(program, "--version").split()[-1]
    return found


def executor_calls(count: int) -> float:
    """Calls a second of a warm `ProcessPoolExecutor(2)`; in a process of its own, as the engine."""
    return float(figures_of("peers.py", count)["rate"])


def _executor_rate(count: int) -> float:
    with ProcessPoolExecutor(2) as pool:
        for future in [pool.submit(neg, 1) for _ in range(WARM_UP)]:
            future.result()
        start = time.perf_counter()
        for future in [pool.submit(neg, 1) for _ in range(count)]:
            future.result()
        return count / (time.perf_counter() - start)


def huey_calls(count: int) -> float | None:
    """Calls a second through huey with fsync."""
    python = PEERS / "bin" / "python"
    if not (PEERS / "bin" / "huey_consumer").exists():
        return None
    return float(figures_of("huey_peer.py", count, python=python)["rate"])


def naive(kind: str, count: int) -> float:
    """Tasks a second of the naive runner."""
    return float(figures_of("naive.py", kind, count)["rate"])


def xargs(kind: str, count: int) -> float | None:
    """Commands a second, two at a time; what they print goes to a file."""
    if shutil.which("xargs") is None:
        return None
    return _fed(["xargs", "-P2", "-n1", *_COMMANDS[kind]], count)


def parallel(count: int) -> float | None:
    """Commands a second of GNU parallel with two slots."""
    if shutil.which("parallel") is None:
        return None
    return _fed(["parallel", "--will-cite", "-j2", "true"], count)


def _fed(command: list[str], count: int) -> float:
    numbers = "".join(f"{number}\n" for number in range(count))
    with tempfile.TemporaryFile() as output:
        start = time.perf_counter()
        subprocess.run(command, input=numbers.encode(), stdout=output, stderr=subprocess.DEVNULL, check=True)
        return count / (time.perf_counter() - start)


def bare_lines(megabytes: int) -> float:
    """Megabytes a second of a loop that only reads 64 KiB at a time."""
    size = megabytes * 1_000_000
    with subprocess.Popen(["sh", "-c", f"yes '{LINE}' | head -c {size}"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        number, seen = process.stdout.fileno(), 0
        start = time.perf_counter()
        while chunk := os.read(number, 65536):
            seen += len(chunk)
        took = time.perf_counter() - start
    if seen != size:
        raise SystemExit(f"{size - seen} bytes were lost")
    return megabytes / took


def start_up(command: list[str | Path], times: int = 5) -> float:
    """Milliseconds of a program from start to end, the median of a few."""
    took = []
    for _ in range(times):
        start = time.perf_counter()
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
        took.append((time.perf_counter() - start) * 1000)
    return sorted(took)[len(took) // 2]


def in_new_folder(measure: Callable[[Path], float]) -> float:
    """Give `measure` an empty folder that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="mi4-bench-") as folder:
        return measure(Path(folder))


def _quietly(*command: str | Path) -> bool:
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0


def _first_line(*command: str | Path) -> str:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return (done.stdout.splitlines() or ["unknown"])[0]


if __name__ == "__main__":
    print(json.dumps({"rate": _executor_rate(int(sys.argv[1]))}))
