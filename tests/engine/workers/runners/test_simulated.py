"""The simulated agent by itself, with time as an argument."""

from __future__ import annotations

import pytest

from engine.workers.protocol import Work
from engine.workers.runners.job import Outcome
from engine.workers.runners.simulated import SimulatedJob, start_simulated


def work(attempt=1, task_id="t", prompt="", **options):
    return Work(1, attempt, 1, task_id, "simulated", prompt=prompt, options=options)


def run(item):
    """Drive it to its end; what it printed, when it ended, how."""
    printed, now = [], 100.0
    job = start_simulated(item, printed.append, now)
    assert isinstance(job, SimulatedJob)
    while (outcome := job.ready(now)) is None:
        assert job.due() > now
        now = job.due()
    return b"".join(printed).decode(), now - 100.0, outcome


def test_equal_seeds_give_equal_work():
    assert run(work(prompt="a")) == run(work(prompt="a"))
    assert run(work(prompt="a")) != run(work(prompt="a", task_id="other"))
    assert run(work(seed=1, task_id="x")) == run(work(seed=1, task_id="y"))


@pytest.mark.parametrize("prompt", ["", "Quick fix", "Comprehensive refactoring of entire module", "x" * 5000])
def test_time_is_within_bounds(prompt):
    _, seconds, outcome = run(work(prompt=prompt))
    assert 0.2 <= seconds <= 1.51
    assert outcome.outcome == "succeeded"
    assert outcome.tokens.total > 0


def test_big_work_takes_longer():
    assert run(work(prompt="Comprehensive refactoring of entire module"))[1] > run(work(prompt="Quick fix"))[1]


def test_lines_come_one_by_one():
    printed = []
    job = SimulatedJob(work(seconds=10, lines=4), printed.append, 0.0)
    assert job.ready(1.9) is None
    assert printed == []
    assert job.due() == 2.0
    job.ready(2.0)
    assert len(printed) == 1
    job.ready(7.9)
    assert b"".join(printed).count(b"\n") == 3
    assert job.ready(10.0).outcome == "succeeded"
    assert b"".join(printed).count(b"\n") == 4


@pytest.mark.parametrize(("attempt", "outcome"), [(1, "failed"), (2, "failed"), (3, "succeeded")])
def test_fail_attempts(attempt, outcome):
    assert run(work(attempt, fail_attempts=2))[2].outcome == outcome


def test_error_text():
    text, _, outcome = run(work(error="no luck", seconds=0, lines=0))
    assert (outcome.error, text) == ("no luck", "error: no luck\n")
    assert run(work(2, error="no luck", fail_attempts=1))[2].outcome == "succeeded"


@pytest.mark.parametrize(
    "options", [{"second": 1}, {"seconds": "1"}, {"seconds": True}, {"lines": 1.5}, {"error": 3}, {"tokens": None}]
)
def test_wrong_options_are_named(options):
    outcome = start_simulated(work(**options), print, 0.0)
    assert isinstance(outcome, Outcome)
    assert next(iter(options)) in outcome.error
    assert not outcome.retryable
