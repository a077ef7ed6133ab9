"""A run in the foreground: real engines on small files, and a recording reporter."""

import asyncio
import json
import os
import signal

import pytest

from engine.config import load_settings
from engine.errors import (
    AgentMissingError,
    EngineRunningError,
    SessionLostError,
    SettingsError,
    StateFolderError,
    TaskFileError,
    UsageError,
)
from engine.events.events import RunFinished, TaskFinished, TaskStarted
from engine.foreground import (
    command_line_settings,
    describe_settings,
    exit_code,
    plan_run,
    reach,
    run_foreground,
    stored_ids,
    with_default_files,
)
from engine.orchestrator import Orchestrator
from engine.session.launch import RunRequest
from engine.session.protocol import AddTasks, Explain, FindLog, Retry, View
from engine.session.signals import StopSignals
from engine.testing import make_task


class Recorder:
    """A reporter that keeps everything."""

    def __init__(self, verbose=False):
        self.verbose = verbose
        self.notes, self.events, self.output, self.order = [], [], {}, []
        self.submission = self.finished = self.projection = None
        self.on_event = None

    def note(self, text):
        self.notes.append(text)

    def begins(self, projection):
        self.projection = projection
        self.order.append("begins")

    def submitted(self, submission):
        self.submission = submission
        self.order.append("submitted")

    def saw(self, events):
        self.events += events
        for event in events:
            if self.on_event:
                self.on_event(event)

    def printed(self, task_id, lines):
        self.output.setdefault(task_id, []).extend(lines)

    def ends(self, finished):
        self.finished = finished
        self.order.append("ends")

    def states(self):
        return {event.task_id: event.state for event in self.events if isinstance(event, TaskFinished)}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("CODEX__", "ORCHESTRATION__"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def write(folder, *tasks, name="tasks.json"):
    (folder / name).write_text(json.dumps(list(tasks)))
    return name


def shell(task_id, script="true", **more):
    return {"id": task_id, "kind": "shell", "shell": True, "command": script, **more}


def request_in(folder, *files, **more):
    return RunRequest(folder=str(folder / ".mi4"), cwd=str(folder), files=files, **more)


# The exit status


@pytest.mark.parametrize(
    ("counts", "code"),
    [
        ({}, 0),
        ({"succeeded": 3, "already_done": 2, "cached": 1}, 0),
        ({"not_needed": 2}, 0),
        ({"failed": 1}, 1),
        ({"timed_out": 1}, 1),
        ({"cancelled": 1}, 1),
        ({"skipped": 1}, 1),
        ({"held": 1}, 3),
        ({"held": 1, "failed": 5}, 3),
    ],
)
def test_exit_code_of_counts(counts, code):
    assert exit_code(RunFinished(**counts)) == code


def test_the_highest_claim_wins():
    everything = RunFinished(failed=1, held=1)
    assert exit_code(everything, trouble=True) == 74
    assert exit_code(everything, trouble=True, signalled=130) == 130
    assert exit_code(RunFinished(), signalled=143) == 143


# What is asked for


def test_files_that_are_named_are_taken(folder):
    write(folder)
    assert with_default_files(request_in(folder, "other.json")).files == ("other.json",)


def test_tasks_json_is_the_default(folder):
    write(folder)
    assert with_default_files(request_in(folder)).files == ("tasks.json",)


def test_a_state_folder_is_resumed(folder):
    (folder / ".mi4").mkdir()
    assert with_default_files(request_in(folder)).files == ()


def test_nothing_at_all_says_what_to_do(folder):
    with pytest.raises(TaskFileError, match="name a task file, or try 'mi4-tui demo'") as caught:
        with_default_files(request_in(folder))
    assert caught.value.exit_code == 65
    assert not (folder / ".mi4").exists()


def test_settings_of_the_command_line():
    found = command_line_settings(
        max_agents="4", no_cache=True, on_interrupted="fail", assignments=["orchestration.max_agents=9", "ui.theme=a=b"]
    )
    assert found == {
        "orchestration.max_agents": "4",
        "codex.enable_caching": False,
        "orchestration.on_interrupted": "fail",
        "ui.theme": "a=b",
    }


@pytest.mark.parametrize("wrong", ["orchestration.max_agents", "max_agents=4", "=4"])
def test_an_assignment_that_is_none(wrong):
    with pytest.raises(UsageError, match=r"write section\.key=value"):
        command_line_settings(max_agents=None, no_cache=False, on_interrupted=None, assignments=[wrong])


def test_every_setting_with_its_source(folder):
    (folder / "mi4.toml").write_text("[cache]\nttl_seconds = 60\n")
    effective, _ = describe_settings(request_in(folder, overrides={"orchestration.max_agents": "7"}))
    found = {one.name: (one.value, one.source) for one in effective}
    assert found["orchestration.max_agents"] == (7, "command line")
    assert found["cache.ttl_seconds"] == (60.0, "mi4.toml")
    assert found["codex.enable_caching"] == (True, "default")


# Runs


async def test_a_run_from_start_to_end(folder):
    recorder = Recorder()
    name = write(folder, shell("a", "echo hello"), shell("b", dependencies=["a"]))
    assert await run_foreground(request_in(folder, name), recorder) == 0
    assert recorder.order == ["begins", "submitted", "ends"]
    assert recorder.submission.accepted == ["a", "b"]
    assert recorder.states() == {"a": "succeeded", "b": "succeeded"}
    assert recorder.finished.succeeded == 2
    assert recorder.projection.counts["succeeded"] == 2


async def test_a_failure_is_exit_status_one(folder):
    recorder = Recorder()
    name = write(folder, shell("bad", "exit 5"), shell("after", dependencies=["bad"]), shell("good"))
    assert await run_foreground(request_in(folder, name), recorder) == 1
    assert recorder.states() == {"bad": "failed", "after": "skipped", "good": "succeeded"}


async def test_running_again_keeps_what_is_done_unless_told(folder):
    name = write(folder, shell("a"), shell("b", "exit 1"))
    await run_foreground(request_in(folder, name), Recorder())
    again = Recorder()
    assert await run_foreground(request_in(folder, name), again) == 1
    assert again.submission.already_done == ["a"]
    assert again.submission.accepted == ["b"]
    assert again.finished.already_done == 1
    anew = Recorder()
    await run_foreground(request_in(folder, name, rerun=True), anew)
    assert anew.submission.accepted == ["a", "b"]


async def test_running_again_what_is_all_done_ends_at_once(folder):
    name = write(folder, shell("a"))
    await run_foreground(request_in(folder, name), Recorder())
    again = Recorder()
    async with asyncio.timeout(30):
        assert await run_foreground(request_in(folder, name), again) == 0
    assert again.finished.already_done == 1
    assert again.states() == {}


async def test_without_a_file_open_work_is_resumed(folder):
    async with reach(request_in(folder), create=True) as reached:
        await reached.session.ask(AddTasks(tasks=(make_task("left", kind="shell", command=("true",)),)))
    recorder = Recorder()
    assert await run_foreground(request_in(folder), recorder) == 0
    assert recorder.states() == {"left": "succeeded"}


async def test_an_empty_state_folder_is_nothing_to_resume(folder):
    async with reach(request_in(folder), create=True):
        pass
    with pytest.raises(TaskFileError, match="nothing to resume"):
        await run_foreground(request_in(folder), Recorder())


async def test_a_file_may_depend_on_what_the_folder_holds(folder):
    await run_foreground(request_in(folder, write(folder, shell("first"))), Recorder())
    second = write(folder, shell("second", dependencies=["first"]), name="second.json")
    assert stored_ids(folder / ".mi4") == {"first"}
    recorder = Recorder()
    assert await run_foreground(request_in(folder, second), recorder) == 0
    assert recorder.states() == {"second": "succeeded"}


async def test_fail_fast_cancels_the_rest(folder):
    recorder = Recorder()
    tasks = [shell("bad", "exit 1", priority="critical"), *(shell(f"t{n}", "sleep 30") for n in range(4))]
    one_worker = {"orchestration.max_agents": 1}
    name = write(folder, *tasks)
    assert await run_foreground(request_in(folder, name, fail_fast=True, overrides=one_worker), recorder) == 1
    assert recorder.finished.failed == 1
    assert recorder.finished.cancelled == 4


async def test_everything_printed_is_passed_on_when_wanted(folder):
    recorder = Recorder(verbose=True)
    name = write(
        folder,
        shell("short", r"printf 'one\ntwo\033[31m\n'"),
        shell("long", "seq 1 5000"),
        shell("flaky", "echo try; test -e ok || { touch ok; exit 1; }", max_retries=1),
    )
    overrides = {"codex.retry_delay_seconds": 0}
    assert await run_foreground(request_in(folder, name, overrides=overrides), recorder) == 0
    assert recorder.output["short"][0] == "one"
    assert "\x1b" not in "".join(recorder.output["short"])
    assert recorder.output["long"] == [str(number) for number in range(1, 5001)]
    assert recorder.output["flaky"] == ["try", "try"]


async def test_nothing_printed_is_passed_on_otherwise(folder):
    recorder = Recorder()
    await run_foreground(request_in(folder, write(folder, shell("a", "echo hello"))), recorder)
    assert recorder.output == {}


async def test_the_report_is_written_at_the_end(folder):
    name = write(folder, shell("a"))
    assert await run_foreground(request_in(folder, name, report="out.json"), Recorder()) == 0
    assert "current_metrics" in json.loads((folder / "out.json").read_text())


async def test_a_report_that_cannot_be_written_is_exit_status_74(folder):
    (folder / "out.json").mkdir()
    recorder = Recorder()
    assert await run_foreground(request_in(folder, write(folder, shell("a")), report="out.json"), recorder) == 74
    assert any("out.json" in note for note in recorder.notes)


# What keeps a run from starting; nothing may be lost or left behind


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"report": "no/such/folder.json"}, UsageError),
        ({"overrides": {"orchestration.max_agents": "many"}}, SettingsError),
        ({"config_file": "missing.toml"}, SettingsError),
    ],
)
async def test_a_wrong_call_starts_nothing(folder, more, error):
    name = write(folder, shell("a", "touch started"))
    with pytest.raises(error):
        await run_foreground(request_in(folder, name, **more), Recorder())
    assert {path.name for path in folder.iterdir()} == {"tasks.json"}


@pytest.mark.parametrize("content", ["", "[{", '[{"id": "a", "kind": "shell"}]', '[{"id": "a", "kind": "unheard-of"}]'])
async def test_a_bad_file_starts_nothing(folder, content):
    (folder / "tasks.json").write_text(content)
    with pytest.raises(TaskFileError):
        await run_foreground(request_in(folder, "tasks.json"), Recorder())
    assert not (folder / ".mi4").exists()


async def test_an_agent_that_is_missing(folder, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    name = write(folder, {"id": "a", "description": "Fix it"})
    with pytest.raises(AgentMissingError, match="simulated"):
        await run_foreground(request_in(folder, name), Recorder())


async def test_the_simulated_agent_runs_only_when_asked_for(folder):
    name = write(folder, {"id": "a", "description": "Fix it", "agent_options": {"seconds": 0.01}})
    assert await run_foreground(request_in(folder, name, agent="simulated"), Recorder()) == 0


async def test_a_second_engine_is_refused_with_the_pid_of_the_first(folder):
    name = write(folder, shell("a"))
    async with Orchestrator(load_settings(cwd=folder).settings, folder=folder / ".mi4"):
        with pytest.raises(EngineRunningError, match=str(os.getpid())) as caught:
            await run_foreground(request_in(folder, name), Recorder())
    assert caught.value.exit_code == 75
    assert await run_foreground(request_in(folder, name), Recorder()) == 0


# Signals


async def test_one_signal_finishes_what_runs(folder, monkeypatch):
    signals = []
    monkeypatch.setattr("engine.foreground.StopSignals", lambda note: signals.append(StopSignals(note)) or signals[-1])
    recorder = Recorder()

    def stop_at_the_first(event):
        if isinstance(event, TaskStarted) and signals[0].code is None:
            asyncio.get_running_loop().call_soon(signals[0].receive, signal.SIGINT)

    recorder.on_event = stop_at_the_first
    name = write(folder, *(shell(f"t{n}", "sleep 0.2") for n in range(5)))
    code = await run_foreground(request_in(folder, name, overrides={"orchestration.max_agents": 1}), recorder)
    assert code == 130
    assert recorder.finished.succeeded == 1
    assert list(recorder.states().values()) == ["succeeded"]
    resumed = Recorder()
    assert await run_foreground(request_in(folder), resumed) == 0
    assert resumed.finished.succeeded == 4


async def test_a_signal_during_the_start_starts_nothing(folder, monkeypatch):
    recorder, signals = Recorder(), []
    monkeypatch.setattr("engine.foreground.StopSignals", lambda note: signals.append(StopSignals(note)) or signals[-1])
    recorder.begins = lambda projection: signals[0].receive(signal.SIGINT)
    name = write(folder, shell("a", "touch ran"))
    async with asyncio.timeout(30):
        assert await run_foreground(request_in(folder, name), recorder) == 130
    assert not (folder / "ran").exists()
    async with asyncio.timeout(30):
        assert await run_foreground(request_in(folder), Recorder()) == 0


async def test_two_signals_cancel_what_runs(folder, monkeypatch):
    signals = []
    monkeypatch.setattr("engine.foreground.StopSignals", lambda note: signals.append(StopSignals(note)) or signals[-1])
    recorder = Recorder()

    def stop_twice(event):
        if isinstance(event, TaskStarted):
            asyncio.get_running_loop().call_soon(signals[0].receive, signal.SIGTERM)
            asyncio.get_running_loop().call_soon(signals[0].receive, signal.SIGTERM)

    recorder.on_event = stop_twice
    name = write(folder, shell("long", "sleep 60"))
    assert await run_foreground(request_in(folder, name), recorder) == 143
    assert recorder.states() == {"long": "cancelled"}


# Plans, and the folder without an engine


def test_a_plan_runs_and_writes_nothing(folder):
    name = write(folder, shell("low", "touch ran", priority="low"), shell("high", dependencies=["low"], priority=400))
    planned = plan_run(request_in(folder, name))
    assert [entry.id for entry in planned] == ["low", "high"]
    assert planned[1].waits_for == ("low",)
    assert {path.name for path in folder.iterdir()} == {"tasks.json"}


def test_a_plan_needs_a_file(folder):
    (folder / ".mi4").mkdir()
    with pytest.raises(UsageError, match="--dry-run needs a task file"):
        plan_run(request_in(folder))


async def test_the_stored_state_answers_without_an_engine(folder):
    await run_foreground(request_in(folder, write(folder, shell("a", "echo kept; exit 2"))), Recorder())
    async with reach(request_in(folder), view=View()) as reached:
        assert not reached.live
        assert reached.session.projection.row("a").state == "failed"
        log = await reached.session.ask(FindLog(id="a"))
        assert log.data["output"] == b"kept\n"
        assert (await reached.session.ask(Explain(id="a"))).ok
        assert (await reached.session.ask(Retry(ids=("a",)))).ok
    async with reach(request_in(folder)) as reached:
        assert reached.session.projection.row("a").state == "queued"


async def test_a_running_engine_answers_itself(folder):
    async with Orchestrator(load_settings(cwd=folder).settings, folder=folder / ".mi4") as orchestrator:
        async with reach(request_in(folder), view=View(), stored=False) as reached:
            assert reached.live
            added = make_task("fresh", kind="shell", command=("true",))
            reply = await reached.session.ask(AddTasks(tasks=(added,)))
            assert reply.data["accepted"] == ["fresh"]
        await orchestrator.wait_idle()
        assert orchestrator.projection.row("fresh").state == "succeeded"


async def test_a_folder_that_is_not_there(folder):
    with pytest.raises(StateFolderError, match="nothing has run here yet"):
        async with reach(request_in(folder)):
            pass
    with pytest.raises(SessionLostError, match="no engine works on this folder"):
        async with reach(request_in(folder), stored=False):
            pass
    assert not (folder / ".mi4").exists()


async def test_a_folder_without_an_engine(folder):
    async with reach(request_in(folder), create=True):
        pass
    with pytest.raises(SessionLostError, match="no engine works on this folder"):
        async with reach(request_in(folder), stored=False):
            pass
