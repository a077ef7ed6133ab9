import pytest

from engine.scheduling.explain import explain, plan, why_idle
from engine.tasks.model import Cause, Task

NOW = 1_800_000_000.0


def why(bench, task_id: str) -> str:
    return explain(bench.scheduler, bench.entry(task_id)).reason


def test_the_terms_add_up_to_the_score(bench, task) -> None:
    bench.submit(task("a", priority=300, timeout_seconds=5, max_retries=2, created_at=bench.clock.time() - 3600))

    explanation = explain(bench.scheduler, bench.entry("a"))

    assert explanation.score == pytest.approx(300 + 10 + 10 + 20)
    assert explanation.terms.total == pytest.approx(explanation.score)
    assert explanation.place == 0


def test_each_waiting_task_says_what_it_waits_for(make_bench, task) -> None:
    bench = make_bench(workers=1, limits={"build": 1})
    bench.submit(
        task("run", category="build", priority=400),
        task("limited", category="build"),
        task("free"),
        task("next"),
        task("child", dependencies=("free", "next")),
        task("later", not_before=bench.clock.time() + 90),
    )
    bench.dispatch()

    assert "limit of 1" in why(bench, "limited")
    assert why(bench, "free") == "it waits for a free worker; 1 before it"
    assert why(bench, "child") == "it waits for free, next"
    assert why(bench, "later") == "it may start in 90 s"
    assert why(bench, "run") == "w1 has it, attempt 1"


def test_held_paused_and_ended_tasks_say_what_to_do(bench, task) -> None:
    bench.submit(task("a"), task("b"), task("c", dependencies=("b",)))
    bench.scheduler.hold(bench.entry("a"))
    assert "release" in why(bench, "a")

    bench.scheduler.pause()
    assert why(bench, "b") == "the queue is paused"
    bench.scheduler.resume()

    bench.dispatch()
    bench.end("b", "failed", error="exit 2")
    assert why(bench, "b") == "it ended: exit 2"
    assert "retry that one" in why(bench, "c")
    assert bench.entry("c").cause == Cause.DEPENDENCY_FAILED


def lines(*tasks: Task, done=()) -> dict[str, str]:
    return {line.id: line.reason for line in plan(tasks, NOW, done)}


def test_the_plan_is_in_the_order_of_start_with_the_reason_for_waiting(task) -> None:
    planned = lines(task("b", dependencies=("a",), priority=400), task("a", priority=100), task("c", priority=200))

    assert list(planned) == ["c", "a", "b"]
    assert planned == {"c": "ready now", "a": "ready now", "b": "waits for a"}


def test_the_plan_leaves_out_what_would_not_run_and_says_why(task) -> None:
    planned = lines(
        task("old"), task("a", dependencies=("old",)), task("ticked", status="done"),
        task("clean", dependencies=("a",), run_if="failure"), task("after", dependencies=("clean",)), done={"old"},
    )  # fmt: skip

    assert planned["a"] == "ready now"
    assert planned["old"] == "would not run: already done"
    assert planned["ticked"] == "would not run: done in the file"
    assert planned["clean"].startswith("would not run: its 'run_if'")
    assert planned["after"].startswith("would not run: its 'run_if'")
    assert next(iter(planned)) == "a"


def test_the_plan_shows_the_terms(task) -> None:
    (line,) = plan([task("a", priority=300, timeout_seconds=9, created_at=NOW - 7200)], NOW)

    assert line.score == 340
    assert (line.terms.age, line.terms.timeout) == (20, 20)


def test_an_idle_worker_says_what_it_waits_for(make_bench, task) -> None:
    bench = make_bench(workers=2, limits={"build": 1})
    assert why_idle(bench.scheduler) == "nothing is left to run"

    bench.submit(task("root"), task("x", dependencies=("root",)), task("y", dependencies=("root",)))
    bench.dispatch()
    assert why_idle(bench.scheduler) == "2 tasks wait on root"

    bench.submit(task("b1", category="build"), task("b2", category="build"))
    bench.dispatch()
    assert "limit of 1" in why_idle(bench.scheduler)
    bench.scheduler.pause()
    assert "paused" in why_idle(bench.scheduler)


def test_an_idle_worker_names_back_off_and_held_tasks(bench, task) -> None:
    bench.submit(task("a", max_retries=1), task("b"))
    bench.dispatch()
    bench.end("a", "failed")
    bench.end("b")
    assert why_idle(bench.scheduler) == "1 task in back-off"

    bench.scheduler.hold(bench.entry("a"))
    assert why_idle(bench.scheduler) == "1 task held; release to run"


def test_the_plan_names_held_tasks_and_what_waits_for_them(task) -> None:
    lines = plan([task("h", status="held"), task("b", dependencies=("h",)), task("a")], 0.0)

    assert [(line.id, line.reason) for line in lines] == [
        ("a", "ready now"),
        ("b", "waits for h"),
        ("h", "would not run: held in the file until it is released"),
    ]
