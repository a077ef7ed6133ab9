import pytest

from engine.errors import IllegalTransitionError
from engine.tasks.lifecycle import ACTIVE, FINAL, OPEN, TRANSITIONS, WAITING, check
from engine.tasks.model import State


def test_every_state_has_a_row_and_final_states_have_no_way_out() -> None:
    assert set(TRANSITIONS) == set(State)
    assert all(not TRANSITIONS[state] for state in FINAL)


def test_the_kinds_of_states_cover_all_and_do_not_overlap() -> None:
    assert set(State) == FINAL | OPEN
    assert ACTIVE | WAITING == OPEN
    assert not ACTIVE & WAITING


def test_every_open_state_can_reach_an_end() -> None:
    for start in OPEN:
        seen, frontier = {start}, [start]
        while frontier:
            following = TRANSITIONS[frontier.pop()] - seen
            seen |= following
            frontier += following
        assert seen & FINAL, start


def test_a_task_that_has_run_does_not_start_without_being_queued() -> None:
    assert [state for state in State if State.LEASED in TRANSITIONS[state]] == [State.QUEUED]


def test_an_arrow_that_is_not_in_the_table_raises_with_both_ends() -> None:
    check(State.QUEUED, State.LEASED)
    with pytest.raises(IllegalTransitionError, match="from succeeded to running"):
        check(State.SUCCEEDED, State.RUNNING)
