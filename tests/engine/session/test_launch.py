"""The start of a background engine, with small stand-ins for the engine's own entry."""

import os
import sys
import textwrap
from pathlib import Path

import msgspec
import pytest

from engine.errors import (
    AgentMissingError,
    EngineError,
    EngineRunningError,
    Fault,
    SettingsError,
    StateFolderError,
    TaskFileError,
)
from engine.session.launch import LaunchReply, RunRequest, launch_engine

PREAMBLE = """
import json, os, sys
def reply(arguments, **fields):
    assert arguments[0] == "--reply-fd"
    with open(int(arguments[1]), "wb") as pipe:
        pipe.write(json.dumps(fields).encode() + b"\\n")
"""


def entry(body: str) -> list[str]:
    """A stand-in for the entry of the engine: a program with this `main`."""
    return [sys.executable, "-c", PREAMBLE + textwrap.dedent(body) + "\nsys.exit(main(sys.argv[1:]))"]


def request_in(folder: Path, **more) -> RunRequest:
    return RunRequest(folder=str(folder / ".mi4"), cwd=str(folder), **more)


def test_an_engine_that_is_up_says_so_and_lives_on(tmp_path):
    program = entry(
        """
        def main(arguments):
            sys.stdin.read()
            reply(arguments, pid=os.getpid(), accepted=3, warnings=["careful"])
            while not os.path.exists("leave"):
                pass
            return 7
        """
    )
    launched = launch_engine(request_in(tmp_path), entry=program)
    assert launched.reply == LaunchReply(pid=launched.process.pid, accepted=3, warnings=("careful",))
    assert launched.process.poll() is None
    (tmp_path / "leave").touch()
    assert launched.process.wait() == 7


def test_it_has_a_session_of_its_own_and_the_working_folder(tmp_path):
    program = entry(
        """
        def main(arguments):
            sys.stdin.read()
            reply(arguments, pid=os.getsid(0), warnings=[os.getcwd()])
        """
    )
    launched = launch_engine(request_in(tmp_path), entry=program)
    launched.process.wait()
    assert launched.reply.pid == launched.process.pid != os.getsid(0)
    assert launched.reply.warnings == (str(tmp_path),)


def test_the_whole_request_arrives(tmp_path):
    program = entry(
        """
        def main(arguments):
            reply(arguments, warnings=[sys.stdin.read()])
        """
    )
    sent = request_in(
        tmp_path, files=("a.json", "ü.yaml"), agent="simulated", rerun=True, fail_fast=True, report="r.json",
        overrides={"orchestration.max_agents": "4", "codex.enable_caching": False}, linger=1.5,
    )  # fmt: skip
    launched = launch_engine(sent, entry=program)
    launched.process.wait()
    assert msgspec.json.decode(launched.reply.warnings[0], type=RunRequest) == sent


@pytest.mark.parametrize(
    "error",
    [
        SettingsError("orchestration.max_agents from command line is 'x'; allowed: a number"),
        AgentMissingError("no agent is installed"),
        StateFolderError("/nowhere cannot be written"),
        EngineError("something else"),
    ],
)
def test_an_error_comes_back_as_itself(tmp_path, error):
    said = LaunchReply.of_error(error)
    program = entry(
        f"""
        def main(arguments):
            sys.stdin.read()
            reply(arguments, error={said.error!r}, exit_code={said.exit_code})
            return {said.exit_code}
        """
    )
    with pytest.raises(type(error)) as caught:
        launch_engine(request_in(tmp_path), entry=program)
    assert type(caught.value) is type(error)
    assert str(caught.value) == str(error)


def test_a_task_file_error_keeps_its_faults():
    error = TaskFileError([Fault("a.json", 3, "no kind"), Fault("b.json", None, "is empty")])
    again = LaunchReply.of_error(error).as_error()
    assert isinstance(again, TaskFileError)
    assert again.faults == error.faults


def test_a_held_folder_keeps_the_pid_of_its_holder():
    again = LaunchReply.of_error(EngineRunningError("held by 77", pid=77)).as_error()
    assert isinstance(again, EngineRunningError)
    assert again.pid == 77


def test_a_death_without_a_word_is_told_by_its_last_line(tmp_path):
    program = entry(
        """
        def main(arguments):
            sys.exit("no room for a heap")
        """
    )
    with pytest.raises(EngineError, match="died while it started: no room for a heap"):
        launch_engine(request_in(tmp_path), entry=program)


def test_a_silent_death_is_told_by_its_status(tmp_path):
    program = entry(
        """
        def main(arguments):
            os._exit(9)
        """
    )
    with pytest.raises(EngineError, match="exit status 9"):
        launch_engine(request_in(tmp_path), entry=program)


def test_a_working_folder_that_is_gone_is_one_line(tmp_path):
    with pytest.raises(EngineError, match="cannot be started"):
        launch_engine(RunRequest(folder=str(tmp_path), cwd=str(tmp_path / "gone")))
