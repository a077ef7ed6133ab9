import pytest

from engine.scheduling.retry import MAX_DELAY, RetryPolicy
from engine.tasks.model import AttemptResult, Task

POLICY = RetryPolicy(agent_delay=10.0, command_delay=1.0)


def result(outcome="failed", **fields) -> AttemptResult:
    return AttemptResult(key=1, attempt=1, outcome=outcome, **fields)


def test_no_retry_is_left_or_none_can_help() -> None:
    task = Task(id="a", kind="shell", max_retries=3)

    assert POLICY.delay(task, result(), 0) is None
    assert POLICY.delay(task, result(retryable=False), 3) is None
    assert POLICY.delay(task, result("succeeded"), 3) is None
    assert POLICY.delay(task, result("cancelled"), 3) is None
    assert POLICY.delay(task, result("timed_out"), 3) is not None


@pytest.mark.parametrize(("left", "expected"), [(3, 1.0), (2, 2.0), (1, 4.0)])
def test_the_delay_doubles_within_a_tenth(left, expected) -> None:
    delay = POLICY.delay(Task(id="a", kind="shell", max_retries=3), result(), left)

    assert delay is not None
    assert 0.9 * expected <= delay <= 1.1 * expected


def test_agents_wait_longer_and_nobody_longer_than_the_cap() -> None:
    agent = POLICY.delay(Task(id="a", kind="simulated"), result(), 3)
    late = POLICY.delay(Task(id="a", kind="shell", max_retries=1000), result(), 1)

    assert agent is not None
    assert agent >= 9.0
    assert late is not None
    assert late <= 1.1 * MAX_DELAY


def test_the_jitter_is_the_same_for_the_same_task_and_attempt_and_differs_between_tasks() -> None:
    delays = {
        name: POLICY.delay(Task(id=name, kind="shell", max_retries=1), result(), 1) for name in ("a", "b", "c", "d")
    }

    assert POLICY.delay(Task(id="a", kind="shell", max_retries=1), result(), 1) == delays["a"]
    assert len(set(delays.values())) > 1
