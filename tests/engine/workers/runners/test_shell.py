"""How commands are found and read, without starting any."""

from __future__ import annotations

import pytest

from engine.workers.runners.shell import ProgramPaths, command_line


class FakeClock:
    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now

    def time(self):
        return self.now


@pytest.mark.parametrize(
    ("command", "shell", "argv"),
    [
        (("a", "b c"), False, ("a", "b c")),
        ("a b", True, ("/bin/sh", "-c", "a b")),
        ("a b", False, ("a b",)),
        (None, True, ()),
        ("", True, ()),
        ((), False, ()),
    ],
)
def test_command_line(command, shell, argv):
    assert command_line(command, shell=shell) == argv


def program(folder, name="tool"):
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_text("#!/bin/sh\n")
    file.chmod(0o755)
    return str(file)


def test_programs_are_found_on_the_given_path(tmp_path):
    paths = ProgramPaths(FakeClock())
    first, second = program(tmp_path / "1"), program(tmp_path / "2")
    assert paths.find("tool", f"{tmp_path}/1:{tmp_path}/2") == first
    assert paths.find("tool", f"{tmp_path}/2:{tmp_path}/1") == second
    assert paths.find("tool", str(tmp_path)) is None
    assert paths.find("./tool", "") == "./tool"


def test_a_place_is_remembered_for_a_moment_only(tmp_path):
    clock = FakeClock()
    paths = ProgramPaths(clock)
    second = program(tmp_path / "2")
    path = f"{tmp_path}/1:{tmp_path}/2"
    assert paths.find("tool", path) == second
    first = program(tmp_path / "1")
    assert paths.find("tool", path) == second
    clock.now += 5
    assert paths.find("tool", path) == first


def test_what_was_not_found_is_looked_for_again(tmp_path):
    paths = ProgramPaths(FakeClock())
    (tmp_path / "1").mkdir()
    assert paths.find("tool", f"{tmp_path}/1") is None
    assert paths.find("tool", f"{tmp_path}/1") is None
    file = program(tmp_path / "1")
    assert paths.find("tool", f"{tmp_path}/1") == file
