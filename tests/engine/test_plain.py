"""Lines and JSON of a run, and the command line that needs no app."""

import errno
import io
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import msgspec
import pytest

from engine.errors import Fault, SettingsError, TaskFileError
from engine.events import events
from engine.events.events import (
    OutputSummarised,
    RunFinished,
    TaskAdded,
    TaskFinished,
    TaskLeased,
    TaskQueued,
    TaskRequeued,
    TaskRetryScheduled,
    TaskStarted,
    WorkerBroken,
)
from engine.events.projection import Projection
from engine.foreground import engine_error
from engine.plain import (
    JsonReporter,
    Outlet,
    PlainReporter,
    error_lines,
    event_record,
    finished_line,
    main,
    plan_lines,
    seconds,
    summary_line,
)
from engine.scheduling.explain import plan
from engine.scheduling.intake import Submission
from engine.tasks.model import OutputSummary, Tokens
from engine.testing import make_task

HOSTILE = "x\x1b[2J\x9b31m\u202e\x07"


def reporter(kind=PlainReporter, **options):
    out, err = [], []
    return kind(out.append, err.append, **options), out, err


def finished(**fields):
    return TaskFinished(
        **{"task_id": "build", "key": 1, "state": "succeeded", "attempt": 1, "duration_s": 1.234, **fields}
    )


def records(lines):
    return [json.loads(line) for chunk in lines for line in chunk.split("\n")]


# Words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.00 s"),
        (0.4249, "0.42 s"),
        (12.34, "12.3 s"),
        (200.2, "3 min 20 s"),
        (7500, "2 h 5 min"),
        (59.96, "60.0 s"),
    ],
)
def test_durations_as_people_read_them(value, text):
    assert seconds(value) == text


def test_the_summary_leaves_out_what_is_zero():
    run = RunFinished(succeeded=12, cached=2, failed=1, timed_out=1, already_done=3, duration_s=4.2)
    assert summary_line(run) == "12 succeeded (2 cached), 1 failed, 1 timed out, 3 already done; 4.20 s"
    assert summary_line(RunFinished()) == "nothing to do; 0.00 s"


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({}, "succeeded  build  1.23 s"),
        ({"cached": True, "duration_s": 0.0}, "cached     build  0.00 s"),
        (
            {"state": "failed", "error": "exit status 3", "attempt": 2},
            "failed     build  1.23 s (attempt 2)  exit status 3",
        ),
        (
            {"state": "skipped", "cause": "dependency_failed", "duration_s": 0.0},
            "skipped    build  0.00 s  dependency failed",
        ),
    ],
)
def test_a_line_for_each_task(fields, line):
    assert finished_line(finished(**fields)) == line


# Plain


def test_results_go_one_way_and_progress_the_other():
    plain, out, err = reporter()
    plain.begins(Projection())
    plain.submitted(Submission(accepted=["a", "b"], already_done=["c"], already_open=["d"], refused={"e": "it runs"}))
    plain.saw(
        [
            finished(),
            TaskRetryScheduled(task_id="b", key=2, attempt=1, delay_s=2.0, retries_left=1, error="exit status 1"),
        ]
    )
    plain.ends(RunFinished(succeeded=1))
    assert out == ["already_done c", "succeeded  build  1.23 s", "1 succeeded; 0.00 s"]
    assert err == [
        "mi4-tui: 2 tasks accepted",
        "mi4-tui: 1 of them open already",
        "mi4-tui: e was not changed: it runs",
        "retrying   b  exit status 1; again in 2.00 s, 1 left",
    ]


def test_a_greeting_is_said_once_the_engine_is_up():
    plain, _, err = reporter(greeting="headless")
    assert err == []
    plain.begins(Projection())
    assert err == ["mi4-tui: headless"]


def test_the_last_lines_of_a_failed_task_are_shown():
    plain, out, err = reporter()
    tail = tuple(f"line {number}" for number in range(30))
    plain.saw([finished(state="failed", error="exit status 1", summary=OutputSummary(lines=30, tail=tail))])
    assert len(out) == 1
    assert err == [f"  build | line {number}" for number in range(20, 30)]


def test_a_task_that_succeeded_shows_none():
    plain, _, err = reporter()
    plain.saw([finished(summary=OutputSummary(lines=1, tail=("secret plans",)))])
    assert err == []


def test_quiet_says_only_what_failed_and_the_summary():
    plain, out, err = reporter(quiet=True, greeting="headless")
    plain.begins(Projection())
    plain.submitted(Submission(accepted=["a"], already_done=["c"]))
    plain.note("something")
    plain.saw([finished(), finished(state="timed_out", error="after 3 s", summary=OutputSummary(tail=("last",)))])
    plain.ends(RunFinished(succeeded=1, timed_out=1))
    assert out == ["timed_out  build  1.23 s  after 3 s", "1 succeeded, 1 timed out; 0.00 s"]
    assert err == ["  build | last"]


def test_verbose_tells_of_starts_and_of_all_output():
    plain, _, err = reporter(verbose=True)
    plain.saw([TaskStarted(task_id="build", key=1, worker="w1", attempt=1)])
    plain.printed("build", ["one", "two"])
    plain.printed("build", [])
    plain.saw([finished(state="failed", summary=OutputSummary(tail=("two",)))])
    assert err == ["started    build  on w1", "build | one\nbuild | two"]


def test_trouble_with_workers_is_told():
    plain, _, err = reporter()
    plain.saw([WorkerBroken(worker="w2", reason="died at once", retry_in_s=4.0)])
    plain.saw([TaskRequeued(task_id="a", key=1, attempt=1, crashes=1, error="its worker was killed")])
    assert err == ["mi4-tui: worker w2 is broken: died at once", "requeued   a  its worker was killed"]


def test_hostile_text_never_reaches_the_terminal():
    for kind in (PlainReporter, JsonReporter):
        plain, out, err = reporter(kind, verbose=False)
        plain.note(HOSTILE)
        plain.submitted(Submission(accepted=["a"], already_done=[HOSTILE], refused={HOSTILE: HOSTILE}))
        plain.saw([finished(task_id=HOSTILE, state="failed", error=HOSTILE, summary=OutputSummary(tail=(HOSTILE,)))])
        plain.saw([TaskRetryScheduled(task_id=HOSTILE, key=1, attempt=1, delay_s=1, retries_left=1, error=HOSTILE)])
        plain.saw(
            [TaskAdded(task_id=HOSTILE, key=1, task=make_task(HOSTILE, title=HOSTILE), generation=1, state="queued")]
        )
        plain.printed(HOSTILE, ["fine"])
        said = "\n".join(out + err)
        assert said
        for character in "\x1b\x9b\u202e\x07":
            assert character not in said


# JSON


def test_events_come_as_objects_in_order():
    jsonic, out, err = reporter(JsonReporter)
    jsonic.saw([TaskQueued(seq=1, time=5.0, task_id="a", key=1, score=200.0)])
    jsonic.saw([TaskLeased(seq=2, time=6.0, task_id="a", key=1, worker="w1", attempt=1)])
    first, second = records(out)
    assert list(first)[:4] == ["seq", "time", "event", "task_id"]
    assert (first["seq"], first["time"], first["event"], first["task_id"]) == (1, 5.0, "task_queued", "a")
    assert second["event"] == "task_leased"
    assert "key" not in first
    assert err == []


def test_the_fields_of_a_finished_task():
    event = finished(
        seq=9, time=1.0, cached=True, exit_code=0, lines=12, cost_usd=0.5,
        tokens=Tokens(input=100, cached=40, output=20, reasoning=5), summary=OutputSummary(lines=12),
    )  # fmt: skip
    record = event_record(event)
    expected = {
        "event": "task_finished", "task_id": "build", "state": "succeeded", "attempt": 1, "cached": True, "exit_code": 0,
        "duration_s": 1.234, "lines": 12, "cost_usd": 0.5, "error": "",
        "tokens": {"input": 100, "cached": 40, "output": 20, "reasoning": 5, "total": 120},
    }  # fmt: skip
    assert expected.items() <= record.items()
    assert "summary" not in record


def test_what_is_unknown_is_null():
    record = event_record(finished())
    assert record["tokens"] is None
    assert record["cost_usd"] is None
    assert record["exit_code"] is None


def test_an_output_summary_is_flat_and_short():
    summary = OutputSummary(lines=3, bytes=30, error_lines=1, progress="50%", last_line="x", tail=("a", "b", "x"))
    record = event_record(OutputSummarised(task_id="a", key=1, worker="w1", attempt=1, summary=summary))
    assert record["event"] == "output_summary"
    assert (record["lines"], record["bytes"], record["error_lines"], record["progress"]) == (3, 30, 1, "50%")
    assert "tail" not in record


def test_values_of_the_environment_are_not_in_a_line():
    task = make_task("a", set_env={"TOKEN": "hunter2"}, stdin="hunter2", command=("x", "hunter2"))
    record = event_record(TaskAdded(task_id="a", key=1, task=task, generation=1, state="queued"))
    assert "hunter2" not in json.dumps(record)
    assert record["task"]["title"] == "Title of a"


def test_the_last_line_is_the_end_of_the_run():
    jsonic, out, _ = reporter(JsonReporter)
    jsonic.saw([finished(seq=4, time=2.0), RunFinished(seq=5, time=2.0, succeeded=1)])
    jsonic.ends(RunFinished(succeeded=1, cached=1, already_done=2, duration_s=3.5))
    assert [record["event"] for record in records(out)] == ["task_finished", "run_finished"]
    last = records(out)[-1]
    names = ("succeeded", "failed", "timed_out", "cancelled", "skipped", "not_needed", "held", "already_done", "cached")
    assert [last[name] for name in names] == [1, 0, 0, 0, 0, 0, 0, 2, 1]
    assert last["duration_s"] == 3.5
    assert last["seq"] > 4


def test_tasks_that_stay_done_have_a_line():
    jsonic, out, err = reporter(JsonReporter)
    jsonic.submitted(Submission(accepted=["b"], already_done=["a"]))
    assert [(record["event"], record["task_id"]) for record in records(out)] == [("task_already_done", "a")]
    assert err == ["mi4-tui: 1 task accepted"]


def test_ids_are_exact_in_json_and_plain_ascii():
    jsonic, out, _ = reporter(JsonReporter)
    jsonic.saw([finished(task_id="grün\u202e\x1b")])
    assert out[0].isascii()
    assert records(out)[0]["task_id"] == "grün\u202e\x1b"


# Plans


def test_a_plan_in_lines():
    tasks = [make_task("a", kind="shell", priority=300.0), make_task("b", kind="shell", dependencies=("a",))]
    first, second = plan_lines(plan(tasks, 0.0), as_json=False)
    assert first.split()[:3] == ["1", "300.0", "a"]
    assert "priority +300.0" in first
    assert "waits for a" in second


def test_a_plan_in_json():
    tasks = [
        make_task("a", kind="shell", timeout_seconds=5.0, max_retries=2),
        make_task("b", kind="shell", dependencies=("a",)),
    ]
    first, second = (json.loads(line) for line in plan_lines(plan(tasks, 0.0), as_json=True))
    assert first["id"] == "a"
    assert first["score"] == sum(first["terms"].values()) == 200 + 2 * 5 + 20
    assert set(first["terms"]) >= {"priority", "age", "retries", "timeout", "dependencies"}
    assert second["waits_for"] == ["a"]
    assert second["reason"]


def test_no_term_is_minus_zero():
    (line,) = plan_lines(plan([make_task("a", kind="shell")], 0.0), as_json=True)
    assert "-0.0" not in line


# Streams


class Broken(io.StringIO):
    def __init__(self, number):
        super().__init__()
        self.number = number
        self.writes = 0

    def write(self, text):
        self.writes += 1
        raise OSError(self.number, os.strerror(self.number))


@pytest.mark.parametrize("number", [errno.EPIPE, errno.EIO])
def test_a_reader_that_left_is_no_trouble(number):
    stream = Broken(number)
    outlet = Outlet(stream)
    outlet("one")
    outlet("two")
    assert stream.writes == 1
    assert outlet.trouble == ""


def test_a_full_disk_is_kept_in_mind():
    outlet = Outlet(Broken(errno.ENOSPC))
    outlet("one")
    assert "No space left" in outlet.trouble


def test_what_the_terminal_cannot_show_is_escaped():
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    Outlet(stream)("grün")
    assert raw.getvalue() == b"gr\\xfcn\n"


# Errors


def test_a_line_for_each_fault():
    error = TaskFileError([Fault("a.json", 3, "no kind"), Fault("b.json", None, "is empty\x1b[2J")])
    first, second = error_lines(error)
    assert first == "mi4-tui: a.json:3: no kind"
    assert second.startswith("mi4-tui: b.json: is empty")
    assert "\x1b" not in second


def test_an_error_of_ours_is_found_in_groups():
    inner = SettingsError("wrong")
    assert engine_error(inner) is inner
    assert engine_error(ExceptionGroup("", [ExceptionGroup("", [inner])])) is inner
    assert engine_error(ExceptionGroup("", [inner, ValueError()])) is None
    assert engine_error(ValueError()) is None


# python -m engine.orchestrator


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tasks = [
        {"id": "a", "kind": "shell", "command": ["echo", "hi"]},
        {"id": "b", "kind": "shell", "command": ["false"], "dependencies": ["a"]},
    ]
    (tmp_path / "tasks.json").write_text(json.dumps(tasks))
    return tmp_path


def test_main_in_lines(folder, capfd):
    assert main(["tasks.json"]) == 1
    out, err = capfd.readouterr()
    assert out.splitlines()[-1].startswith("1 succeeded, 1 failed; ")
    assert "2 tasks accepted" in err


def test_main_in_json(folder, capfd):
    assert main(["--json", "-j", "1"]) == 1
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert lines[-1]["event"] == "run_finished"
    assert [line["seq"] for line in lines] == sorted(line["seq"] for line in lines)
    assert {line["task_id"]: line["state"] for line in lines if line["event"] == "task_finished"} == {
        "a": "succeeded",
        "b": "failed",
    }


def test_main_of_a_plan(folder, capfd):
    assert main(["tasks.json", "--dry-run", "--json"]) == 0
    assert [json.loads(line)["id"] for line in capfd.readouterr().out.splitlines()] == ["a", "b"]
    assert not (folder / ".mi4").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["missing.json"], 65, "missing.json: no such file"),
        (["tasks.json", "--set", "orchestration.max_agents=x"], 64, "orchestration.max_agents"),
        (["tasks.json", "--state-dir", "/proc/nothing"], 73, "state folder"),
    ],
)
def test_main_ends_in_one_line(folder, capfd, arguments, code, words):
    assert main(arguments) == code
    out, err = capfd.readouterr()
    assert out == ""
    assert words in err
    assert len(err.splitlines()) == 1


def test_main_shows_a_traceback_only_when_asked(folder, capfd):
    main(["missing.json", "-v"])
    assert "Traceback" in capfd.readouterr().err


def test_a_wrong_option_is_status_64(folder, capfd):
    with pytest.raises(SystemExit) as caught:
        main(["--wrong"])
    assert caught.value.code == 64
    assert len(capfd.readouterr().err.splitlines()) == 1


def test_a_pipe_that_closes_early_is_quiet(folder):
    """``| head -1`` must neither stop the run nor print anything."""
    program = textwrap.dedent(
        """
        import sys
        from engine.plain import main
        sys.exit(main(["tasks.json", "--json", "-q"]))
        """
    )
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-c", program], stdout=write, stderr=subprocess.PIPE, check=False, cwd=folder
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")


def test_a_full_disk_under_stdout_is_status_74(folder):
    program = "import sys; from engine.plain import main; sys.exit(main(['tasks.json', '-q']))"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", program], stdout=full, stderr=subprocess.PIPE, check=False, cwd=folder
        )
    assert done.returncode == 74
    assert b"cannot write the output" in done.stderr


def test_every_event_becomes_a_record():
    """No event type may break the stream of lines."""
    for kind in msgspec.inspect.type_info(events.AnyEvent).types:
        values = {"task": make_task("a"), "summary": OutputSummary(), "findings": (), "task_id": "a"}
        fields = {field.name: values.get(field.name, 1) for field in kind.fields if field.required}
        record = event_record(kind.cls(**fields))
        assert record["event"] == kind.tag
        json.dumps(record)
