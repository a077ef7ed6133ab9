"""A folder to work in, the command line as a function, and engines that are gone after the test."""

import json
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from engine.session.launch import launch_engine
from mi4_tui.cli import main
from mi4_tui.verbs.options import Place


class Outcome(NamedTuple):
    """What a command line did."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def lines(self):
        return self.out.splitlines()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def mi4(folder, capfd):
    """Run a command line in the working folder."""

    def run(*arguments):
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        return Outcome(code, *capfd.readouterr())

    return run


def shell(task_id, script="true", **more):
    return {"id": task_id, "kind": "shell", "shell": True, "command": script, **more}


@pytest.fixture
def write(folder):
    """Write a task file of shell tasks, given as (id, script) or as full records."""

    def write_file(*tasks, name="tasks.json"):
        records = [shell(*task) if isinstance(task, tuple) else task for task in tasks]
        Path(name).write_text(json.dumps(records))
        return name

    return write_file


@pytest.fixture
def engine(folder):
    """Start a real engine in the background on these files."""
    started = []

    def start(*files, **more):
        started.append(launch_engine(Place(".mi4").request(files=files, **more)))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
        one.process.wait()


@pytest.fixture
def eventually():
    """Call until it is true; fails after half a minute."""

    def wait_for(condition):
        deadline = time.monotonic() + 30
        while not (value := condition()):
            assert time.monotonic() < deadline, "it never became true"
            time.sleep(0.05)
        return value

    return wait_for
