"""However a part of the program dies: nothing of it stays alive, nothing acknowledged is lost, nothing runs twice unasked.

The tasks hang in the shapes in which processes escape from whoever started them. Linux only: the promise is weaker elsewhere.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc; elsewhere less is promised")

SHAPES = {
    "plain": ("sleep 301", 1),
    "background": ("sleep 302 & sleep 302", 2),
    "setsid": ("setsid sleep 303 & sleep 303", 2),
    "double-fork": ("(setsid sh -c 'sleep 304 & sleep 304 &' &); sleep 304", 3),
}
"""Command of each shape, and how many sleeps it starts."""
SLEEPS = sum(count for _, count in SHAPES.values())


def hanging(**extra):
    return [
        {"id": name, "kind": "shell", "shell": True, "command": command, **extra}
        for name, (command, _) in SHAPES.items()
    ]


def waiting(name: str, **extra):
    """A task that ends when the file `go` appears in the working folder."""
    command = "while [ ! -e go ]; do sleep 0.05; done; echo went"
    return {"id": name, "kind": "shell", "shell": True, "command": command, **extra}


class Scene:
    """A run in which one task has ended and every hanging one has started all of its processes."""

    def __init__(self, program, processes, tasks, *, workers: int = 4):
        self.program, self.processes = program, processes
        self.file = program.write([{"id": "first", "kind": "shell", "command": ["true"], "priority": 400}, *tasks])
        self.run = program.start(self.file, "-j", str(workers))
        self.run_id = self.run.until("run_started")[0]["run_id"]
        self.run.until("task_finished", task_id="first")
        self.run.until("task_started", count=1 + len(tasks))

    def until_sleeping(self):
        def sleeping():
            return len([p for p in self.processes.marked(self.run_id) if p.command.startswith("sleep 30")]) == SLEEPS

        self.processes.eventually(sleeping, f"{SLEEPS} sleeping processes")
        return self

    @property
    def hosts(self) -> dict[str, int]:
        """Slot name -> process id of the worker that lives there now."""
        living = {e["worker"]: e["pid"] for e in self.run.named("worker_started")}
        return {name: pid for name, pid in living.items() if self.processes.alive(pid)}

    @property
    def zygote(self) -> int:
        hosts = set(self.hosts.values())
        parents = {int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]) for pid in hosts}
        assert len(parents) == 1, parents
        (zygote,) = parents
        assert zygote not in {self.run.pid, os.getpid(), 1}
        return zygote

    def everything(self):
        return self.processes.of(self.run_id, self.run.pid)

    def worker_of(self, task_id: str) -> int:
        worker = self.run.until("task_started", task_id=task_id)[-1]["worker"]
        return self.hosts[worker]

    def assert_next_start_holds(self, held: set[str]):
        """The next run finds the finished task finished and holds those that had begun."""
        again = self.program.start(self.file)
        assert again.join() == 3, again.complaints
        assert (again.summary["already_done"], again.summary["held"]) == (1, len(held))
        assert again.named("task_started") == []
        assert {(e["task_id"], e["cause"]) for e in again.named("task_held")} == {
            (name, "interrupted") for name in held
        }
        (first,) = again.named("task_added", "first")
        assert (first["restored"], first["state"]) == (True, "succeeded")


def kill(*pids: int, number: int = signal.SIGKILL) -> None:
    for pid in pids:
        os.kill(pid, number)


def test_engine_killed(program, processes):
    scene = Scene(program, processes, hanging()).until_sleeping()
    everything = scene.everything()

    kill(scene.run.pid)

    everything.assert_gone()
    scene.assert_next_start_holds(set(SHAPES))


def test_engine_and_all_workers_killed_at_once(program, processes):
    scene = Scene(program, processes, hanging()).until_sleeping()
    everything = scene.everything()

    kill(scene.run.pid, *scene.hosts.values())

    everything.assert_gone()
    scene.assert_next_start_holds(set(SHAPES))


def test_engine_killed_while_its_workers_are_stopped(program, processes):
    scene = Scene(program, processes, hanging()).until_sleeping()
    everything = scene.everything()
    kill(*scene.hosts.values(), number=signal.SIGSTOP)

    kill(scene.run.pid)

    everything.assert_gone()
    scene.assert_next_start_holds(set(SHAPES))


def test_zygote_killed_then_engine(program, processes):
    scene = Scene(program, processes, hanging()).until_sleeping()
    everything = scene.everything()
    kill(scene.zygote)

    kill(scene.run.pid)

    everything.assert_gone()
    scene.assert_next_start_holds(set(SHAPES))


def test_all_killed_in_one_instant_is_found_at_the_next_start(program, processes):
    """The one death that leaves processes behind; they are found by their mark."""
    scene = Scene(program, processes, hanging()).until_sleeping()
    everything = scene.everything()

    kill(scene.run.pid, scene.zygote, *scene.hosts.values())
    scene.run.join()

    scene.assert_next_start_holds(set(SHAPES))
    everything.assert_gone()


def test_zygote_killed_loses_no_task(program, processes):
    scene = Scene(program, processes, [waiting("a"), waiting("b"), waiting("later", dependencies=["a"])][:2], workers=2)
    everything = scene.everything()
    old = scene.zygote

    kill(old)
    added = program.run("add", "--id", "after", "--", "echo", "after")
    assert added.returncode == 0, added.stderr
    (program.folder / "go").touch()

    assert scene.run.join() == 0, scene.run.complaints
    assert scene.run.states() == {"first": "succeeded", "a": "succeeded", "b": "succeeded", "after": "succeeded"}
    assert {e["attempt"] for e in scene.run.named("task_finished")} == {1}
    everything.assert_gone()


def test_worker_killed_with_its_tasks(program, processes):
    """What the worker had started dies with it; its task runs again, the others do not notice."""
    scene = Scene(program, processes, hanging()).until_sleeping()
    victim = scene.worker_of("double-fork")
    its = processes.below(victim)
    assert len([p for p in its if p.command.startswith("sleep 304")]) >= 1
    marked = [p for p in processes.marked(scene.run_id) if p.command.startswith("sleep 304")]

    kill(victim)

    requeued = scene.run.until("task_requeued")
    assert [(e["task_id"], e["crashes"]) for e in requeued] == [("double-fork", 1)]
    processes.eventually(
        lambda: not any(p.is_alive for p in [*its, *marked]), "the end of what the worker had started", 10
    )
    again = scene.run.until("task_started", task_id="double-fork", count=2)
    assert [e["attempt"] for e in again] == [1, 2]
    assert len(scene.run.named("task_started")) == 1 + len(SHAPES) + 1

    everything = scene.everything()
    kill(scene.run.pid)
    everything.assert_gone()


def test_a_task_that_must_not_run_twice_fails_with_its_worker(program, processes):
    scene = Scene(program, processes, [waiting("once", restart="never")], workers=1)

    kill(scene.worker_of("once"))

    (finished,) = scene.run.until("task_finished", task_id="once")
    assert (finished["state"], finished["cause"]) == ("failed", "worker_lost")
    assert scene.run.join() == 1


def test_a_task_that_kills_its_workers_is_given_up(program, processes):
    """Three workers are enough: a task that takes its worker with it must not take all of them."""
    poison = {"id": "poison", "kind": "shell", "shell": True, "command": "kill -9 $PPID; sleep 30"}
    run = program.start(program.write([poison, {"id": "fine", "kind": "shell", "command": ["true"]}]), "-j", "1")

    assert run.join() == 1, run.complaints
    assert run.states() == {"poison": "failed", "fine": "succeeded"}
    assert len(run.named("task_started", "poison")) == 3


def test_an_idempotent_task_runs_again_after_a_crash(program, processes):
    scene = Scene(program, processes, [waiting("safe", idempotent=True), waiting("unsafe")], workers=2)
    everything = scene.everything()

    kill(scene.run.pid)
    everything.assert_gone()
    (program.folder / "go").touch()

    again = program.start(scene.file)
    assert again.join() == 3, again.complaints
    assert again.states() == {"safe": "succeeded"}
    assert (again.summary["held"], again.summary["already_done"]) == (1, 1)


@pytest.mark.parametrize(("choice", "status", "ran"), [("requeue", 0, True), ("fail", 1, False)])
def test_what_happens_to_interrupted_tasks_can_be_chosen(program, processes, choice, status, ran):
    scene = Scene(program, processes, [waiting("cut")], workers=1)
    everything = scene.everything()
    kill(scene.run.pid)
    everything.assert_gone()
    (program.folder / "go").touch()

    again = program.start("--on-interrupted", choice)

    assert again.join() == status, again.complaints
    assert bool(again.named("task_started", "cut")) is ran


def test_a_held_task_is_released_by_the_user(program, processes):
    scene = Scene(program, processes, [waiting("cut")], workers=1)
    everything = scene.everything()
    kill(scene.run.pid)
    everything.assert_gone()
    (program.folder / "go").touch()
    assert program.start().join() == 3

    released = program.run("release", "cut")
    assert released.returncode == 0, released.stderr

    again = program.start()
    assert again.join() == 0, again.complaints
    assert again.states() == {"cut": "succeeded"}
    assert again.named("task_finished", "cut")[0]["attempt"] == 2
