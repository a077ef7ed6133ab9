"""A hundred thousand tasks: read, checked, run through the engine, and taken back. Limits are CPU time with room for a slow machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.config import Settings
from engine.errors import TaskFileError
from engine.orchestrator import Orchestrator
from engine.tasks.model import State, Task
from engine.tasks.reading import MAX_BYTES
from engine.tasks.taskfile import read_task_files

MANY = 100_000
SLACK = 4
"""Times a figure that a test may take: shared machines and slow ones."""
NONE = {"cwd": "/", "kind": "shell"}


def records():
    for i in range(MANY):
        needs = [f"task-{j:06d}" for j in (i - 1, i // 2) if 0 <= j < i]
        yield {
            "id": f"task-{i:06d}",
            "title": f"Step {i}",
            "command": ["echo", str(i)],
            "priority": 100 + i % 300,
            "dependencies": needs,
        }


def as_yaml() -> str:
    lines = []
    for record in records():
        lines.append(f'- id: {record["id"]}\n  title: {record["title"]}\n  command: [echo, "{record["command"][1]}"]')
        lines.append(f"  priority: {record['priority']}\n  dependencies: [{', '.join(record['dependencies'])}]")
    return "\n".join(lines)


FORMATS = {
    "t.json": lambda: json.dumps({"tasks": list(records())}),
    "t.jsonl": lambda: "\n".join(map(json.dumps, records())),
    "t.yaml": as_yaml,
}


@pytest.mark.load
@pytest.mark.parametrize("name", FORMATS)
def test_100_000_tasks_are_read_and_checked_in_3_seconds(name, tmp_path):
    (tmp_path / name).write_text(FORMATS[name]())
    began = time.process_time()

    tasks = read_task_files([Path(name)], cwd=tmp_path).tasks

    assert len(tasks) == MANY
    assert time.process_time() - began < 3 * SLACK


def test_a_file_above_the_limit_is_refused_unread(tmp_path):
    for name in FORMATS:
        with (tmp_path / name).open("wb") as file:
            file.truncate(MAX_BYTES + 1)  # a sparse file: no bytes on the disk
        began = time.process_time()
        with pytest.raises(TaskFileError) as caught:
            read_task_files([Path(name)], cwd=tmp_path)
        assert [str(fault) for fault in caught.value.faults] == [
            f"{name}: has 536,870,913 bytes; the limit is 536,870,912"
        ]
        assert time.process_time() - began < 0.1 * SLACK, "it was read all the same"


@pytest.mark.parametrize("filler", ["a", "a ", "a:", "- ", "[a, ", "'", "#", " "])
@pytest.mark.parametrize("name", FORMATS)
def test_lines_of_a_megabyte_take_no_time(name, filler, tmp_path):
    """No line makes a reader go back and forth over it; a fault is a line, not the megabyte."""
    text = filler * (1_100_000 // len(filler))
    whole = f"- id: a\n  title: {text}\n" if name == "t.yaml" else json.dumps({"id": "a", "title": text})
    (tmp_path / name).write_text(f"[{whole}]" if name == "t.json" else whole)
    began = time.process_time()
    faults = []
    try:
        read_task_files([Path(name)], cwd=tmp_path)
    except TaskFileError as error:
        faults = [str(fault) for fault in error.faults]
    assert all(len(fault) < 300 for fault in faults)
    assert time.process_time() - began < 1 * SLACK


@pytest.mark.load
async def test_a_chain_of_100_000_ends_with_its_head(tmp_path):
    """Depth costs no stack: the first task fails, and all behind it are skipped one after the other."""
    chain = [Task(id="0", command=("false",), **NONE)]
    chain += [Task(id=str(i), command=("true",), dependencies=(str(i - 1),), **NONE) for i in range(1, MANY)]
    began = time.process_time()

    async with Orchestrator(Settings(), folder=tmp_path / "state", serve=False) as engine:
        results = await engine.run(chain)

    assert (results.finished.failed, results.finished.skipped) == (1, MANY - 1)
    assert time.process_time() - began < 8 * SLACK


@pytest.mark.load
async def test_a_task_that_waits_for_100_000_runs_once_after_them(tmp_path):
    """Width costs no squares: all of them end, and the last one, which wants them ended, runs."""
    tasks = [Task(id="head", command=("false",), **NONE)]
    tasks += [Task(id=str(i), command=("true",), dependencies=("head",), **NONE) for i in range(MANY)]
    tasks.append(Task(id="last", command=("true",), run_if="always", dependencies=tuple(map(str, range(MANY))), **NONE))
    began = time.process_time()

    async with Orchestrator(Settings(), folder=tmp_path / "state", serve=False) as engine:
        results = await engine.run(tasks)

    assert (results.finished.failed, results.finished.skipped, results.finished.succeeded) == (1, MANY, 1)
    assert results.tasks["last"].state == State.SUCCEEDED
    assert time.process_time() - began < 8 * SLACK


REOPEN = """
import asyncio, sys, time
from engine.config import Settings
from engine.orchestrator import Orchestrator
async def main():
    began = time.process_time()
    async with Orchestrator(Settings(), folder=sys.argv[1], work=False) as engine:
        print(engine.projection.counts["skipped"], time.process_time() - began)
asyncio.run(main())
"""


@pytest.mark.load
async def test_a_folder_with_100_000_ended_tasks_is_taken_back(tmp_path):
    done = [Task(id=str(i), status="done", command=("true",), **NONE) for i in range(MANY)]
    async with Orchestrator(Settings(), folder=tmp_path / "state", work=False) as engine:
        await engine.submit(done)

    told = subprocess.run(  # noqa: ASYNC221 - nothing else runs here
        [sys.executable, "-c", REOPEN, tmp_path / "state"], capture_output=True, text=True, check=True, env={**os.environ}
    ).stdout.split()  # fmt: skip

    assert told[0] == str(MANY)
    assert float(told[1]) < 1.5 * SLACK
