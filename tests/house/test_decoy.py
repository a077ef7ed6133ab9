"""`engine` is a common name: the program must work in folders that have one of their own, and run what is in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(sys.executable).parent / "mi4-tui"


@pytest.fixture
def decoy(tmp_path: Path) -> Path:
    package = tmp_path / "project" / "engine"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise_if_mi4_imports_this = True\n")
    (package / "jobs.py").write_text(
        "import engine\n\n\ndef f(number):\n    assert engine.raise_if_mi4_imports_this\n    print('ran in', __file__)\n"
        "    return number * 2\n"
    )
    (package.parent / "tasks.json").write_text(
        json.dumps([{"id": "own", "kind": "python", "callable": "engine.jobs:f", "args": [21]}])
    )
    return package.parent


@pytest.mark.parametrize("extra", [{}, {"PYTHONPATH": "."}], ids=["plain", "on-PYTHONPATH"])
def test_a_callable_of_the_folders_own_engine_runs(decoy: Path, extra: dict[str, str]):
    done = subprocess.run(
        [PROGRAM, "tasks.json", "--json"],
        cwd=decoy, env={**os.environ, **extra}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    finished = next(event for event in events if event["event"] == "task_finished")
    assert (finished["task_id"], finished["state"], finished["lines"]) == ("own", "succeeded", 1)


def test_version_answers_in_such_a_folder(decoy: Path):
    done = subprocess.run([PROGRAM, "--version"], cwd=decoy, capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stderr) == (0, "")
