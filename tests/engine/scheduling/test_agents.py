from pathlib import Path

import pytest

from engine.errors import AgentMissingError
from engine.scheduling.agents import with_kinds
from engine.tasks.model import Task


def test_a_task_without_a_kind_gets_the_agent_that_was_asked_for() -> None:
    filled = with_kinds([Task(id="a"), Task(id="b", kind="shell")], "simulated", {})

    assert [task.kind for task in filled] == ["simulated", "shell"]


def test_without_any_agent_the_error_names_those_looked_for_and_the_way_out() -> None:
    with pytest.raises(AgentMissingError) as caught:
        with_kinds([Task(id="a")], None, {"PATH": ""})

    message = str(caught.value)
    assert "codex, claude, gemini, opencode" in message
    assert "--agent simulated" in message
    assert "\n" not in message


def test_an_installed_agent_that_cannot_be_driven_is_named(tmp_path: Path) -> None:
    codex = tmp_path / "codex"
    codex.write_text("#!/bin/sh\n")
    codex.chmod(0o755)

    with pytest.raises(AgentMissingError, match="found codex, which this version cannot drive yet"):
        with_kinds([Task(id="a")], "codex", {"PATH": str(tmp_path)})


def test_the_simulated_agent_is_never_chosen_silently() -> None:
    with pytest.raises(AgentMissingError):
        with_kinds([Task(id="a")], None, {"PATH": ""})


def test_a_task_that_is_done_in_its_file_needs_no_agent() -> None:
    assert [task.id for task in with_kinds([Task(id="a", status="done")], None, {"PATH": ""})] == ["a"]
