"""Callables of the tour (sample_tasks/tour.yaml): real work on what every Python installation has, its own standard library.

They run in a worker's Python child, print what they do and return a JSON value. Nothing here needs the network or leaves a file.
"""

# ruff: noqa: T201, TID251 - what a task prints is its output, and its attempt number comes by the environment
from __future__ import annotations

import ast
import collections
import hashlib
import os
import random
import re
import sqlite3
import sysconfig
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def _sources(limit: int) -> Iterator[tuple[str, str]]:
    """Name and text of the first `limit` modules of the standard library, by name."""
    folder = Path(sysconfig.get_path("stdlib"))
    for path in sorted(folder.glob("*.py"))[:limit]:
        yield path.name, path.read_text(encoding="utf-8", errors="replace")


def count_lines(limit: int = 120) -> dict[str, int]:
    """Count lines, comments and blank lines."""
    totals: collections.Counter[str] = collections.Counter()
    for name, text in _sources(limit):
        lines = text.splitlines()
        totals["files"] += 1
        totals["lines"] += len(lines)
        totals["comments"] += sum(line.lstrip().startswith("#") for line in lines)
        totals["blank"] += sum(not line.strip() for line in lines)
        if totals["files"] % 20 == 0:
            print(f"{totals['files']}/{limit} {name}: {totals['lines']:,} lines so far")
    return dict(totals)


def longest_functions(limit: int = 80, show: int = 8) -> list[list[Any]]:
    """Find the longest functions."""
    found: list[tuple[int, str]] = []
    for name, text in _sources(limit):
        found += [
            ((node.end_lineno or node.lineno) - node.lineno + 1, f"{name}:{node.name}")
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ]
    longest = sorted(found, reverse=True)[:show]
    for length, place in longest:
        print(f"{length:5} lines  {place}")
    return [[length, place] for length, place in longest]


def count_words(limit: int = 80) -> dict[str, int]:
    """Count the words of all docstrings and comments."""
    words: collections.Counter[str] = collections.Counter()
    for _, text in _sources(limit):
        words.update(re.findall(r"[a-z]{5,}", text.lower()))
    common = dict(words.most_common(10))
    for word, count in common.items():
        print(f"{count:6} {word}")
    return common


def index_names(limit: int = 60) -> int:
    """Build an index of every name in a database in memory and ask it something."""
    with sqlite3.connect(":memory:") as database:
        database.execute("CREATE TABLE names (name TEXT, module TEXT)")
        for module, text in _sources(limit):
            rows = [(name, module) for name in set(re.findall(r"\b[A-Za-z_]\w+\b", text))]
            database.executemany("INSERT INTO names VALUES (?, ?)", rows)
        database.execute("CREATE INDEX by_name ON names (name)")
        query = "SELECT name, count(*) AS used FROM names GROUP BY name ORDER BY used DESC, name LIMIT 5"
        for name, used in database.execute(query):
            print(f"{name} is used in {used} modules")
        total = int(database.execute("SELECT count(*) FROM names").fetchone()[0])
    print(f"{total:,} rows")
    return total


def compress(level: int = 6, limit: int = 60) -> float:
    """Compress the sources and return the ratio."""
    data = "".join(text for _, text in _sources(limit)).encode()
    packed = zlib.compress(data, level)
    if zlib.decompress(packed) != data:
        raise ValueError("what came back is not what went in")
    print(f"{len(data):,} bytes became {len(packed):,} at level {level}")
    return round(len(data) / len(packed), 2)


def fingerprint(limit: int = 150) -> str:
    """One digest over many files; the same for the same Python, so the result is worth keeping."""
    digest = hashlib.sha256()
    for count, (name, text) in enumerate(_sources(limit), start=1):
        digest.update(text.encode())
        if count % 50 == 0:
            print(f"{count}/{limit} up to {name}")
        time.sleep(0.008)
    print("digest", digest.hexdigest())
    return digest.hexdigest()


def estimate_pi(steps: int = 30, points: int = 20_000, pause: float = 0.3) -> float:
    """Estimate pi by random points, in `steps` steps with a pause between them, and print the progress of each."""
    chance = random.Random(4)
    inside = 0
    for step in range(1, steps + 1):
        inside += sum(chance.random() ** 2 + chance.random() ** 2 <= 1.0 for _ in range(points))
        print(f"{100 * step // steps}% pi is about {4 * inside / (step * points):.5f}", flush=True)
        time.sleep(pause)
    return round(4 * inside / (steps * points), 3)


def publish(failures: int = 1) -> str:
    """Fail on the first attempts, as a service that is down for a moment does, and succeed on the next."""
    attempt = int(os.environ["MI4_ATTEMPT"])
    print(f"attempt {attempt}: calling the (imaginary) service")
    if attempt <= failures:
        raise ConnectionError(f"the service answered 503 (attempt {attempt} of {failures + 1})")
    print("the service took it")
    return "published"
