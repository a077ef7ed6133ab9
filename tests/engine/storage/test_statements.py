"""The one way in which a row changes: what a guard lets through, checked against a plain model of it."""

import sqlite3
from contextlib import closing

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from engine.storage.migrations import migrate
from engine.storage.rows import Batch, Change, NewTask, Order
from engine.storage.statements import apply, on_disk, waves
from engine.tasks.lifecycle import FINAL, TRANSITIONS
from engine.tasks.model import AttemptResult, State, Task

FINAL_ON_DISK = {state.value for state in FINAL}
ARROWS = {(on_disk(source), on_disk(target)) for source, targets in TRANSITIONS.items() for target in targets}


def change(key, attempt, sources, target, **more):
    return Change(key=key, attempt=attempt, sources=tuple(sources), target=target, at=1.0, **more)


def new(key, state=State.QUEUED, **more):
    values = {"task": Task(id=f"t{key}"), "digest": "d", "generation": 1, "created_at": 1.0, "retries_left": 2}
    return NewTask(key=key, state=state, **{**values, **more})


class Transitions(RuleBasedStateMachine):
    """Random batches of random changes against a dict; the same rules, written once more in five lines."""

    def __init__(self):
        super().__init__()
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        migrate(self.connection)
        self.rows = {}
        self.attempts = {}
        self.events = 0
        self.sealed = {}

    def teardown(self):
        self.connection.close()

    def write(self, batch):
        self.connection.execute("BEGIN IMMEDIATE")
        refused = apply(self.connection, batch, 1.0)
        self.connection.execute("COMMIT")
        return refused

    @initialize(states=st.lists(st.sampled_from([State.PENDING, State.QUEUED, State.HELD]), min_size=3, max_size=3))
    def start(self, states):
        self.write(Batch(inserts=[new(key, state) for key, state in enumerate(states, start=1)]))
        self.rows = {key: [state.value, 0] for key, state in enumerate(states, start=1)}

    @rule(key=st.integers(1, 20))
    def add(self, key):
        if key in self.rows:
            with pytest.raises(sqlite3.IntegrityError):
                self.write(Batch(inserts=[new(key)]))
            self.connection.rollback()
        else:
            assert self.write(Batch(inserts=[new(key)])) == frozenset()
            self.rows[key] = ["queued", 0]

    @precondition(lambda self: self.rows)
    @rule(data=st.data())
    def batch(self, data):
        changes = data.draw(st.lists(self.a_change(), min_size=1, max_size=12))
        expected = {one.key for one in changes if not self.model(one)}
        assert self.write(Batch(changes=changes)) == expected

    def a_change(self):
        lease = st.booleans()
        return st.builds(
            lambda key, attempt, sources, target, next_attempt, result, by_user: change(
                key,
                attempt,
                sources,
                target,
                next_attempt=attempt + 1 if next_attempt else None,
                lease=7 if next_attempt else 0,
                worker="w1.1" if next_attempt else "",
                by_user=by_user,
                result=AttemptResult(key=key, attempt=attempt, outcome="failed", error=str(attempt))
                if result
                else None,
            ),
            st.sampled_from(sorted(self.rows)),
            st.integers(0, 2),
            st.lists(st.sampled_from(State), min_size=1, max_size=4),
            st.sampled_from(State),
            lease,
            st.booleans(),
            st.booleans(),
        )

    def model(self, one):
        """Apply to the dict; whether the guard held."""
        state, attempt = self.rows[one.key]
        target = on_disk(one.target)
        held = attempt == one.attempt and state in {on_disk(source) for source in one.sources}
        if not held or not (state == target or (state, target) in ARROWS) or state in FINAL_ON_DISK:
            return False
        self.rows[one.key] = [target, attempt if one.next_attempt is None else one.next_attempt]
        self.events += one.by_user or target in FINAL_ON_DISK
        if one.result:
            self.attempts[one.key, one.attempt] = one.result.error
        return True

    @invariant()
    def the_tables_are_the_model(self):
        rows = self.connection.execute("SELECT key, state, attempt FROM tasks").fetchall()
        assert {key: [state, attempt] for key, state, attempt in rows} == self.rows
        attempts = self.connection.execute("SELECT key, attempt, error FROM attempts").fetchall()
        assert {(key, attempt): error for key, attempt, error in attempts} == self.attempts
        assert self.connection.execute("SELECT count(*) FROM events").fetchone() == (self.events,)

    @invariant()
    def a_final_row_never_changes(self):
        query = (
            "SELECT key, state, attempt, cause, finished_at, exit_code, error FROM tasks WHERE finished_at IS NOT NULL"
        )
        rows = {row[0]: row for row in self.connection.execute(query)}
        assert {key: rows.get(key) for key in self.sealed} == self.sealed
        self.sealed = rows


TestTransitions = Transitions.TestCase
TestTransitions.settings = settings(
    max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@pytest.fixture
def connection():
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as opened:
        migrate(opened)
        apply(opened, Batch(inserts=[new(key) for key in range(1, 6)]), 1.0)
        yield opened


def states(connection):
    return [row[0] for row in connection.execute("SELECT state FROM tasks ORDER BY key")]


def lease(key, attempt=0):
    return change(key, attempt, [State.QUEUED], State.LEASED, next_attempt=attempt + 1, lease=key, worker="w1.1")


def test_one_refused_change_of_a_group_leaves_the_others(connection):
    refused = apply(connection, Batch(changes=[lease(1), lease(2, attempt=5), lease(3)]), 1.0)
    assert refused == {2}
    assert states(connection) == ["leased", "queued", "leased", "queued", "queued"]


def test_a_forbidden_arrow_is_refused_and_logged_and_the_others_stand(connection, caplog):
    to_backoff = [change(key, 0, [State.QUEUED], State.BACKOFF) for key in (1, 2)]
    assert apply(connection, Batch(changes=[*to_backoff, lease(3)]), 1.0) == {1, 2}
    assert states(connection)[:3] == ["queued", "queued", "leased"]
    assert "task 1 to backoff: no such transition" in caplog.text


def test_a_group_whose_guards_hold_is_one_statement_for_all(connection):
    seen = []
    connection.set_trace_callback(seen.append)
    apply(connection, Batch(changes=[lease(key) for key in range(1, 6)]), 1.0)
    assert [text for text in seen if text.startswith(("SAVEPOINT", "ROLLBACK", "RELEASE"))] == [
        "SAVEPOINT fast",
        "RELEASE fast",
    ]


def test_running_means_leased_as_a_source_and_as_a_target(connection):
    apply(connection, Batch(changes=[lease(1)]), 1.0)
    assert apply(connection, Batch(changes=[change(1, 1, [State.RUNNING], State.RUNNING)]), 1.0) == frozenset()
    assert apply(connection, Batch(changes=[change(1, 1, [State.RUNNING], State.SUCCEEDED)]), 1.0) == frozenset()
    assert states(connection)[0] == "succeeded"


def test_changes_of_one_task_in_one_batch_keep_their_order(connection):
    settle = change(1, 1, [State.LEASED], State.SUCCEEDED)
    assert apply(connection, Batch(changes=[lease(1), settle, lease(2)]), 1.0) == frozenset()
    assert apply(connection, Batch(changes=[change(2, 2, [State.LEASED], State.FAILED), lease(2, attempt=1)]), 1.0) == {
        2
    }
    assert states(connection)[:2] == ["succeeded", "leased"]


def test_the_first_result_of_an_attempt_wins(connection):
    apply(connection, Batch(changes=[lease(1)]), 1.0)
    first = AttemptResult(key=1, attempt=1, outcome="succeeded")
    second = AttemptResult(key=1, attempt=1, outcome="failed", error="late")
    settle = [State.LEASED, State.RUNNING]
    assert apply(connection, Batch(changes=[change(1, 1, settle, State.SUCCEEDED, result=first)]), 1.0) == frozenset()
    assert apply(connection, Batch(changes=[change(1, 1, settle, State.FAILED, result=second)]), 1.0) == {1}
    assert connection.execute("SELECT outcome, error FROM attempts").fetchall() == [("succeeded", "")]
    assert connection.execute("SELECT count(*) FROM events").fetchone() == (1,)


def test_waves_never_hold_a_key_twice_and_keep_the_order():
    changes = [lease(key) for key in (1, 2, 1, 1, 3, 2)]
    cut = list(waves(changes))
    assert [[one.key for one in wave] for wave in cut] == [[1, 2], [1], [1, 3, 2]]
    assert list(waves([])) == []
    assert list(waves(changes[:2])) == [changes[:2]]


def test_orders_change_the_place_and_leave_an_event(connection):
    apply(connection, Batch(orders=[Order(key=2, priority=400.0, manual=-3.5)]), 9.0)
    assert connection.execute("SELECT priority, manual FROM tasks WHERE key = 2").fetchone() == (400.0, -3.5)
    assert connection.execute("SELECT time, key, state, cause, by_user FROM events").fetchall() == [
        (9.0, 2, "", "priority 400 manual -3.5", 1)
    ]


def test_a_value_that_json_cannot_hold_costs_only_itself(connection, caplog):
    apply(connection, Batch(changes=[lease(1)]), 1.0)
    odd = AttemptResult(key=1, attempt=1, outcome="succeeded", value={"x": object()})
    assert (
        apply(connection, Batch(changes=[change(1, 1, [State.LEASED], State.SUCCEEDED, result=odd)]), 1.0)
        == frozenset()
    )
    assert connection.execute("SELECT state, value FROM tasks WHERE key = 1").fetchone() == ("succeeded", None)
    assert "cannot be stored" in caplog.text
