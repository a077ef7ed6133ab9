from pathlib import Path

import pytest

from engine import errors


def test_every_error_has_one_root_and_an_exit_code() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]

    assert len(kinds) > 10
    assert all(issubclass(kind, errors.EngineError) and kind.exit_code for kind in kinds)


def test_without_a_message_the_docstring_speaks() -> None:
    assert str(errors.SessionLostError()) == "The connection to the engine is gone."


def test_a_fault_names_its_place() -> None:
    assert str(errors.Fault("tasks.json", 3, "no id")) == "tasks.json:3: no id"
    assert str(errors.Fault("tasks.json", None, "no such file")) == "tasks.json: no such file"


def test_all_faults_of_a_file_are_one_error() -> None:
    error = errors.TaskFileError([errors.Fault("a", 1, "x"), errors.Fault("a", 2, "y")])

    assert str(error).splitlines() == ["a:1: x", "a:2: y"]
    assert error.exit_code == 65


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.SettingsError("s"), 64),
        (errors.AgentMissingError("a"), 69),
        (errors.StateFolderError("f", Path("/x")), 73),
        (errors.StorageFullError(), 74),
        (errors.EngineRunningError("e", pid=7), 75),
    ],
)
def test_exit_codes(error, code) -> None:
    assert error.exit_code == code
