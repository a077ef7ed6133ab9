from engine.scheduling.entry import work_order
from engine.tasks.model import Task


def leased(bench, task):
    bench.submit(task)
    bench.dispatch()
    return bench.entry(task.id)


def test_the_order_holds_all_that_the_host_needs(bench, task) -> None:
    entry = leased(bench, task("a/b", cwd="/tmp", set_env={"A": "1"}, timeout_seconds=9, env=("PATH",), clean_env=True))

    work = work_order(entry, lease=7, agent_timeout=3600)

    assert (work.key, work.attempt, work.lease) == (entry.key, 2, 7)
    assert (work.cwd, work.set_env, work.timeout, work.keep_env) == ("/tmp", {"A": "1"}, 9, ("PATH",))
    assert work.log == f"{entry.key}-2.log"


def test_only_agents_get_the_default_time_out_and_a_prompt(make_bench, task) -> None:
    bench = make_bench(workers=2)
    command = leased(bench, task("c", description="words"))
    agent = leased(bench, Task(id="s", kind="simulated", title="fix it"))

    assert work_order(command, lease=7, agent_timeout=60).timeout is None
    assert work_order(command, lease=7, agent_timeout=60).prompt == ""
    assert work_order(agent, lease=7, agent_timeout=60).timeout == 60
    assert work_order(agent, lease=7, agent_timeout=60).prompt == "fix it"


def test_the_idempotency_key_is_the_same_for_all_attempts_and_changes_with_the_content(bench, task) -> None:
    entry = leased(bench, task("a"))
    first = work_order(entry, lease=7, agent_timeout=1).idempotency_key
    entry.attempt += 1
    assert work_order(entry, lease=7, agent_timeout=1).idempotency_key == first

    other = leased(bench, task("b"))
    assert work_order(other, lease=7, agent_timeout=1).idempotency_key != first
