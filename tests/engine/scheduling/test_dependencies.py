import pytest

from engine.scheduling.dependencies import Dependencies, Outcome, Verdict, outcome_of
from engine.tasks.model import Cause, State

NOTHING_ENDED: dict[str, Outcome] = {}


@pytest.mark.parametrize(
    ("run_if", "outcomes", "expected"),
    [
        ("success", [Outcome.GOOD, Outcome.GOOD], Verdict.READY),
        ("success", [Outcome.GOOD, Outcome.BAD], Verdict.SKIP_FAILED),
        ("success", [Outcome.GOOD, Outcome.NOT_NEEDED], Verdict.SKIP_NOT_NEEDED),
        ("failure", [Outcome.GOOD, Outcome.GOOD], Verdict.SKIP_NOT_NEEDED),
        ("failure", [Outcome.BAD, Outcome.GOOD], Verdict.READY),
        ("always", [Outcome.BAD, Outcome.NOT_NEEDED], Verdict.READY),
    ],
)
def test_run_if_decides_once_all_have_ended(run_if, outcomes, expected) -> None:
    graph = Dependencies()
    assert graph.add(1, ["a", "b"], run_if, NOTHING_ENDED.get) is Verdict.WAIT

    decided = graph.ended("a", outcomes[0]) + graph.ended("b", outcomes[1])

    assert decided == [(1, expected)]


def test_success_gives_up_with_the_first_failure_and_is_decided_once() -> None:
    graph = Dependencies()
    graph.add(1, ["a", "b"], "success", NOTHING_ENDED.get)

    assert graph.ended("b", Outcome.BAD) == [(1, Verdict.SKIP_FAILED)]
    assert graph.ended("a", Outcome.GOOD) == []


def test_what_ended_before_counts_when_a_task_is_added() -> None:
    ended = {"a": Outcome.GOOD, "b": Outcome.BAD}

    assert Dependencies().add(1, ["a"], "success", ended.get) is Verdict.READY
    assert Dependencies().add(1, ["a", "b"], "success", ended.get) is Verdict.SKIP_FAILED
    assert Dependencies().add(1, [], "failure", ended.get) is Verdict.SKIP_NOT_NEEDED


def test_waits_for_names_what_is_open_and_shrinks() -> None:
    graph = Dependencies()
    graph.add(1, ["b", "a"], "success", NOTHING_ENDED.get)
    assert graph.waits_for(1) == ("a", "b")

    graph.ended("a", Outcome.GOOD)

    assert graph.waits_for(1) == ("b",)
    assert graph.dependants("b") == (1,)


def test_a_forgotten_task_is_not_decided() -> None:
    graph = Dependencies()
    graph.add(1, ["a"], "success", NOTHING_ENDED.get)
    graph.forget(1)

    assert graph.ended("a", Outcome.GOOD) == []


@pytest.mark.parametrize(
    ("state", "cause", "expected"),
    [
        (State.SUCCEEDED, "", Outcome.GOOD),
        (State.SKIPPED, Cause.DONE_IN_FILE, Outcome.GOOD),
        (State.SKIPPED, Cause.RUN_IF_UNMET, Outcome.NOT_NEEDED),
        (State.SKIPPED, Cause.DEPENDENCY_FAILED, Outcome.BAD),
        (State.FAILED, "", Outcome.BAD),
        (State.TIMED_OUT, "", Outcome.BAD),
        (State.CANCELLED, Cause.USER, Outcome.BAD),
        (State.HELD, Cause.USER, None),
        (State.RUNNING, "", None),
    ],
)
def test_outcomes(state, cause, expected) -> None:
    assert outcome_of(state, cause) is expected
