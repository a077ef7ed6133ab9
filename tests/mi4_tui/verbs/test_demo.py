"""``mi4-tui demo``: the built-in backlog really works."""

import json
import subprocess
import sys
from pathlib import Path

from engine.tasks.taskfile import read_task_files
from mi4_tui.demo import DEMO_FILE, write_demo

PROGRAM = str(Path(sys.executable).with_name("mi4-tui"))


def test_its_file_is_faultless(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = write_demo()
    read = read_task_files([Path(DEMO_FILE)], cwd=folder)
    assert read.warnings == ()
    assert {task.kind for task in read.tasks} == {"shell", "python", "simulated"}
    assert any(task.is_cacheable for task in read.tasks)


def test_it_ends_well_in_a_folder_of_its_own(tmp_path):
    ran = subprocess.run(
        [PROGRAM, "demo", "--json"], capture_output=True, text=True, check=False, cwd="/", env={"TMPDIR": str(tmp_path), "PATH": "/usr/bin:/bin"},
        timeout=110,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    assert lines[-1]["succeeded"] == 11
    assert any(line["event"] == "task_retry_scheduled" and line["task_id"] == "flaky" for line in lines)
    (folder,) = tmp_path.glob("mi4-demo-*")
    assert str(folder) in ran.stderr
    assert (folder / "package.tar").exists()
