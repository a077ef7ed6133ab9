"""The command line from outside: exit statuses, signals, streams, and verbs from another terminal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

WAIT = "while [ ! -e go ]; do sleep 0.05; done"


def shell(task_id: str, command: str, **extra):
    return {"id": task_id, "kind": "shell", "shell": True, "command": command, **extra}


@pytest.mark.parametrize(
    ("records", "status", "totals"),
    [
        ([shell("a", "true")], 0, {"succeeded": 1}),
        ([shell("a", "exit 3")], 1, {"failed": 1}),
        ([shell("a", "sleep 60", timeout_seconds=0.2)], 1, {"timed_out": 1}),
        ([shell("a", "false"), shell("b", "true", dependencies=["a"])], 1, {"failed": 1, "skipped": 1}),
        ([shell("a", "true"), shell("b", "true", dependencies=["a"], run_if="failure")], 0, {"not_needed": 1}),
        (
            [shell("a", "false", status="done"), shell("b", "true", dependencies=["a"])],
            0,
            {"succeeded": 1, "not_needed": 1},
        ),
        ([], 0, {"succeeded": 0}),
    ],
    ids=["fine", "failed", "timed-out", "dependency-failed", "run-if-unmet", "done-in-file", "no-tasks"],
)
def test_exit_status_says_how_it_went(program, records, status: int, totals: dict[str, int]):
    run = program.start(program.write(records))

    assert run.join() == status, run.complaints
    assert {name: run.summary[name] for name in totals} == totals
    assert run.lines == []


def test_python_dash_m_is_the_same_program(program):
    program.write([shell("a", "echo hi")])

    done = subprocess.run(
        [sys.executable, "-P", "-m", "mi4_tui", "backlog.json", "--no-ui", "--state-dir", program.state],
        cwd=program.folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr


def test_the_plain_way_needs_no_app(program):
    """`python -m engine.orchestrator` and `python -m engine.performance_monitor`, without mi4_tui."""
    program.write([shell("a", "echo hi"), shell("b", "exit 1")])
    options = ["--state-dir", str(program.state)]

    def plain(*arguments: str) -> subprocess.CompletedProcess[str]:
        code = (
            "import runpy, sys; sys.modules['mi4_tui'] = sys.modules['textual'] = sys.modules['rich'] = None; "
            "sys.argv = sys.argv[1:]; runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
        )
        return subprocess.run(
            [sys.executable, "-P", "-c", code, *arguments],
            cwd=program.folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip

    ran = plain("engine.orchestrator", "backlog.json", "--json", *options)
    assert ran.returncode == 1, ran.stderr
    assert json.loads(ran.stdout.splitlines()[-1])["succeeded"] == 1

    seen = plain("engine.performance_monitor", "--once", "--json", *options)
    assert seen.returncode == 0, seen.stderr
    metrics = json.loads(seen.stdout.splitlines()[-1])
    metrics = metrics.get("current_metrics", metrics)
    assert (metrics["tasks_completed"], metrics["tasks_failed"]) == (1, 1)


def test_events_are_numbered_and_end_with_the_total(program):
    run = program.start(program.write([shell(f"t{i}", f"echo {i}") for i in range(20)]))

    assert run.join() == 0, run.complaints
    numbers = [event["seq"] for event in run.events[:-1]]
    assert numbers == sorted(set(numbers))
    assert len(run.named("task_finished")) == 20
    assert all({"time", "seq", "event"} <= set(event) for event in run.events[:-1])
    assert run.summary["succeeded"] == 20


def test_output_of_a_failed_task_goes_to_stderr(program):
    program.write([shell("bad", "echo out; echo why >&2; exit 4"), shell("good", "echo quiet")])

    done = program.run("backlog.json", "--no-ui")

    assert done.returncode == 1
    assert "why" in done.stderr
    assert "quiet" not in done.stdout + done.stderr


def test_hostile_output_does_not_reach_the_terminal(program):
    hostile = r"printf '\033]0;owned\007\033[2Jred \342\200\256evil [bold]markup[/]\n'; exit 1"
    program.write([shell("bad", hostile)])

    done = program.run("backlog.json", "--no-ui", "-v")
    run = program.start(program.folder / "backlog.json", "--rerun")

    assert run.join() == 1
    assert "\033]" not in done.stdout + done.stderr
    assert "\u202e" not in done.stdout + done.stderr
    (finished,) = run.named("task_finished")
    assert not set("\033\a\u202e") & set(json.dumps(finished, ensure_ascii=False))


def test_dry_run_runs_nothing_and_says_why(program):
    program.write(
        [
            shell("low", "touch started", priority="low"),
            shell("high", "touch started", priority="high"),
            shell("after", "touch started", priority=400, dependencies=["low"]),
        ]
    )

    done = program.run("backlog.json", "--dry-run", "--json")

    assert done.returncode == 0, done.stderr
    planned = [json.loads(line) for line in done.stdout.splitlines()]
    assert [plan["id"] for plan in planned] == ["high", "low", "after"]
    assert planned[2]["waits_for"] == ["low"]
    assert planned[2]["reason"]
    assert sum(planned[0]["terms"].values()) == pytest.approx(planned[0]["score"], abs=0.01)
    assert not (program.folder / "started").exists()
    assert not program.state.exists()


def test_first_interrupt_drains(program):
    run = program.start(program.write([shell("now", f"{WAIT}; echo done"), shell("later", "true")]), "-j", "1")
    run.until("task_started", task_id="now")

    run.process.send_signal(signal.SIGINT)
    (program.folder / "go").touch()

    assert run.join() == 130
    assert run.states() == {"now": "succeeded"}
    assert run.events[-1]["event"] == "run_finished"


def test_second_interrupt_cancels(program, processes):
    run = program.start(program.write([shell("now", "sleep 300"), shell("later", "true")]), "-j", "1")
    run_id = run.until("run_started")[0]["run_id"]
    run.until("task_started", task_id="now")
    everything = processes.of(run_id, run.pid)

    run.process.send_signal(signal.SIGINT)
    # Two signals of one number that wait at the same time are one.
    processes.eventually(lambda: any("finishing" in line for line in run.complaints), "word that it drains")
    run.process.send_signal(signal.SIGINT)

    assert run.join() == 130
    assert run.states()["now"] == "cancelled"
    everything.assert_gone()


def test_terminate_drains_with_its_own_status(program):
    run = program.start(program.write([shell("now", WAIT)]), "-j", "1")
    run.until("task_started")

    run.process.send_signal(signal.SIGTERM)
    (program.folder / "go").touch()

    assert run.join() == 143


def test_fail_fast(program):
    """What runs is cancelled too, also what was given to a worker in the moment in which the failure became durable."""
    later = [shell(f"later-{i}", "sleep 300") for i in range(4)]
    run = program.start(program.write([shell("bad", "exit 1"), *later]), "-j", "2", "--fail-fast")

    assert run.join() == 1
    assert run.states() == {"bad": "failed", **{task["id"]: "cancelled" for task in later}}


def test_verbs_from_another_terminal(program):
    records = [shell("busy", WAIT), shell("a", "true"), shell("b", "true"), shell("c", "true")]
    run = program.start(program.write(records), "-j", "1")
    run.until("task_started", task_id="busy")

    assert program.run("pause").returncode == 0
    assert program.run("prio", "c", "400").returncode == 0
    assert program.run("hold", "a").returncode == 0
    assert program.run("cancel", "b").returncode == 0
    assert program.run("add", "--id", "extra", "--priority", "300", "--", "echo", "extra").returncode == 0
    explained = program.run("explain", "c")
    assert explained.returncode == 0
    assert "400" in explained.stdout
    (program.folder / "go").touch()
    run.until("task_finished", task_id="busy")
    assert run.named("task_started", "c") == []
    assert program.run("resume").returncode == 0

    assert run.join() == 3, run.complaints
    assert run.states() == {"busy": "succeeded", "b": "cancelled", "c": "succeeded", "extra": "succeeded"}
    order = [event["task_id"] for event in run.named("task_started")]
    assert order == ["busy", "c", "extra"]
    assert run.summary["held"] == 1


def test_verbs_on_the_stored_state(program):
    assert program.start(program.write([shell("good", "echo hello"), shell("bad", "exit 1")])).join() == 1

    assert program.run("logs", "good").stdout == "hello\n"
    status = program.run("status")
    assert status.returncode == 0, status.stderr
    assert program.run("retry", "bad").returncode == 0
    assert program.run("add", "--id", "new", "--", "echo", "new").returncode == 0
    assert program.run("hold", "new").returncode == 0

    again = program.start()
    assert again.join() == 3, again.complaints
    assert again.states() == {"bad": "failed"}


def test_report_numbers_equal_those_of_the_run(program):
    records = [shell("a", "echo 1"), shell("b", "exit 1"), shell("c", "echo 3", dependencies=["a"])]
    report = program.folder / "report.json"
    run = program.start(program.write(records), "--report", report)
    assert run.join() == 1

    written = json.loads(report.read_text())
    metrics = written["current_metrics"]
    assert (metrics["tasks_completed"], metrics["tasks_failed"], metrics["tasks_in_progress"]) == (2, 1, 0)
    assert {task["id"]: task["state"] for task in written["tasks"]} == run.states()
    assert {"schema_version", "timestamp", "run", "settings", "bottlenecks", "recommendations"} <= set(written)
    assert (report.stat().st_mode & 0o777) == 0o600

    stored = json.loads(program.run("report", "--format", "json").stdout)
    assert stored["current_metrics"]["tasks_completed"] == 2
    assert {task["id"]: task["state"] for task in stored["tasks"]} == run.states()


def test_state_is_private(program):
    assert program.start(program.write([shell("a", "seq 5000")])).join() == 0

    assert program.state.stat().st_mode & 0o777 == 0o700
    loose = [path for path in program.state.rglob("*") if path.is_file() and path.stat().st_mode & 0o077]
    assert loose == []


def test_secret_values_are_not_stored(program):
    secret = "sk-very-secret-value-0123456789"
    record = shell("leaky", 'echo "key is $MY_API_KEY"; exit 1', env=["MY_API_KEY"])
    run = program.start(program.write([record]), env={**os.environ, "MY_API_KEY": secret})

    assert run.join() == 1
    assert secret not in json.dumps(run.events) + "".join(run.complaints)
    for path in program.state.rglob("*"):
        if path.is_file():
            assert secret.encode() not in path.read_bytes(), path


def test_attempts_see_who_they_are(program):
    run = program.start(
        program.write([shell("who", 'echo "$MI4_TASK_ID $MI4_ATTEMPT ${MI4_IDEMPOTENCY_KEY:+key} ${MI4_RUN:+run}"')])
    )

    assert run.join() == 0
    assert program.run("logs", "who").stdout == "who 1 key run\n"


def test_config_names_every_source(program):
    (program.folder / "mi4.toml").write_text("[cache]\nttl_seconds = 60\n")
    done = program.run("config", env={**os.environ, "ORCHESTRATION__MAX_AGENTS": "5"})

    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line.split()}
    assert "5" in lines["orchestration.max_agents"]
    assert "ORCHESTRATION__MAX_AGENTS" in lines["orchestration.max_agents"]
    assert "mi4.toml" in lines["cache.ttl_seconds"]


def test_the_python_face(program):
    program.write(
        [{"id": "bench-1", "title": "Simple task", "description": "Quick fix", "status": "open"}],
        "benchmark_tasks.json",
    )
    (program.folder / "face.py").write_text(
        "import asyncio\n"
        "from engine.orchestrator import orchestrator_lifecycle\n"
        "from engine.performance_monitor import PerformanceMonitor\n"
        "async def main():\n"
        "    async with orchestrator_lifecycle() as orch:\n"
        "        await orch.run('benchmark_tasks.json', agent='simulated')\n"
        "        print(f'{orch.process_pool.stats.get_reuse_rate():.1f}%', orch.cache_hits, orch.cache_misses,\n"
        "              len(orch.task_execution_times))\n"
        "        inside = PerformanceMonitor().get_current_metrics()\n"
        "        assert inside.tasks_completed == 1, inside\n"
        "asyncio.run(main())\n"
        "PerformanceMonitor().export_report('performance_report.json')\n"
    )

    done = subprocess.run(
        [sys.executable, "face.py"], cwd=program.folder, capture_output=True, text=True, check=False, timeout=60
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout == "0.0% 0 0 1\n"
    report = json.loads(Path(program.folder / "performance_report.json").read_text())
    assert report["current_metrics"]["tasks_completed"] == 1
