"""What a task's environment is made of."""

from __future__ import annotations

import pytest

from engine.workers.protocol import Work
from engine.workers.runners.environment import encode_environment, fault_in_set_env, task_environment

BASE = encode_environment({"A": "1", "B": "ü", "MI4_RUN": "outer", "MI4_ATTEMPT": "9", "ODD": "\udcff"})


def environment(**fields):
    return task_environment(BASE, Work(1, 2, 3, "id", "shell", **fields), "run")


def test_base_without_the_marks_of_an_outer_run():
    assert encode_environment({}) == {}
    assert dict(BASE) == {b"A": b"1", b"B": "ü".encode(), b"ODD": b"\xff"}


def test_marks():
    assert environment(idempotency_key="k") == {
        **BASE, b"MI4_RUN": b"run", b"MI4_TASK_ID": b"id", b"MI4_ATTEMPT": b"2", b"MI4_IDEMPOTENCY_KEY": b"k",
    }  # fmt: skip


def test_set_env_wins_over_the_base_but_not_over_the_marks():
    found = environment(set_env={"A": "2", "MI4_RUN": "mine"})
    assert (found[b"A"], found[b"MI4_RUN"]) == (b"2", b"run")


def test_clean_env_keeps_the_named():
    found = environment(clean_env=True, keep_env=("B", "NONE"), set_env={"C": "3"})
    assert {name for name in found if not name.startswith(b"MI4_")} == {b"B", b"C"}


def test_the_base_is_not_changed():
    before = dict(BASE)
    environment(set_env={"A": "2"})
    assert before == BASE


@pytest.mark.parametrize("bad", [{"": "x"}, {"A=B": "x"}, {"A\0": "x"}, {"A": "x\0"}])
def test_faults(bad):
    assert "set_env" in fault_in_set_env(bad)
    assert fault_in_set_env({"GOOD": "value"}) == ""
