"""The state folder: private, and unmoved by whatever somebody planted in it."""

import os
import stat
from pathlib import Path

import pytest

from engine.errors import StateFolderError
from engine.storage.folder import StateFolder, atomic_write, check_private, create_private


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_folder_and_its_rooms_are_private(tmp_path):
    folder = StateFolder.open(tmp_path / "deep" / ".mi4")
    assert mode(folder.path) == mode(folder.logs) == mode(folder.progress) == 0o700
    assert (
        folder.database.parent
        == folder.lock.parent
        == folder.socket_hint.parent
        == folder.engine_log.parent
        == folder.path
    )


def test_opening_twice_is_fine_and_closes_what_others_could_read(tmp_path):
    folder = StateFolder.open(tmp_path / ".mi4")
    folder.path.chmod(0o755)
    folder.logs.chmod(0o750)
    again = StateFolder.open(tmp_path / ".mi4", create=False)
    assert again == folder
    assert mode(folder.path) == mode(folder.logs) == 0o700


def test_a_relative_path_becomes_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert StateFolder.open(Path(".mi4")).path == tmp_path / ".mi4"


def test_a_missing_folder_is_not_made_when_not_asked(tmp_path):
    with pytest.raises(StateFolderError, match=r"no state folder at .*run a task file first"):
        StateFolder.open(tmp_path / "none", create=False)
    assert not (tmp_path / "none").exists()


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("dear")
    tmp_path.chmod(0o755)
    with pytest.raises(StateFolderError, match="holds other files"):
        StateFolder.open(tmp_path)
    assert mode(tmp_path) == 0o755
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("bits", [0o770, 0o707, 0o777])
def test_a_folder_that_others_can_write_to_is_refused(tmp_path, bits):
    path = tmp_path / ".mi4"
    path.mkdir()
    path.chmod(bits)
    with pytest.raises(StateFolderError, match=r"others can write to .*chmod 700"):
        StateFolder.open(path)


def test_a_folder_of_another_user_is_refused(tmp_path, monkeypatch):
    path = tmp_path / ".mi4"
    path.mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    with pytest.raises(StateFolderError, match="belongs to another user"):
        StateFolder.open(path)


def test_a_link_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / ".mi4").symlink_to(tmp_path / "real")
    with pytest.raises(StateFolderError, match="symbolic link"):
        StateFolder.open(tmp_path / ".mi4")
    assert not any((tmp_path / "real").iterdir())


def test_a_link_in_the_place_of_the_logs_is_refused(tmp_path):
    (tmp_path / "victim").mkdir()
    (tmp_path / ".mi4").mkdir(mode=0o700)
    (tmp_path / ".mi4" / "logs").symlink_to(tmp_path / "victim")
    with pytest.raises(StateFolderError, match="symbolic link"):
        StateFolder.open(tmp_path / ".mi4")


def test_a_file_in_the_place_of_the_folder_is_one_line(tmp_path):
    (tmp_path / ".mi4").write_text("x")
    with pytest.raises(StateFolderError) as caught:
        StateFolder.open(tmp_path / ".mi4")
    assert "\n" not in str(caught.value)
    assert "--state-dir" in str(caught.value)


def test_a_place_where_no_folder_can_be_is_one_line():
    with pytest.raises(StateFolderError, match=r"^cannot use the state folder /dev/null/.mi4: .*--state-dir$"):
        StateFolder.open(Path("/dev/null/.mi4"))


def test_private_files_are_new_and_0600(tmp_path):
    fd = create_private(tmp_path / "a")
    os.close(fd)
    assert mode(tmp_path / "a") == 0o600
    with pytest.raises(FileExistsError):
        create_private(tmp_path / "a")
    (tmp_path / "victim").write_text("dear")
    (tmp_path / "link").symlink_to(tmp_path / "victim")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name in ("link", "dangling"):
        with pytest.raises(FileExistsError):
            create_private(tmp_path / name)
    assert (tmp_path / "victim").read_text() == "dear"
    assert not (tmp_path / "nowhere").exists()


def test_check_private_accepts_only_plain_files_with_one_name(tmp_path):
    assert not check_private(tmp_path / "missing")
    (tmp_path / "plain").write_text("x")
    assert check_private(tmp_path / "plain")
    (tmp_path / "link").symlink_to(tmp_path / "plain")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    for name in ("link", "fifo", "folder"):
        with pytest.raises(StateFolderError, match="not a plain file"):
            check_private(tmp_path / name)
    os.link(tmp_path / "plain", tmp_path / "second")
    with pytest.raises(StateFolderError, match="hard link"):
        check_private(tmp_path / "plain")


def test_atomic_write_replaces_a_link_and_leaves_its_target(tmp_path):
    (tmp_path / "victim").write_text("dear")
    (tmp_path / "report").symlink_to(tmp_path / "victim")
    atomic_write(tmp_path / "report", b"new")
    assert (tmp_path / "report").read_bytes() == b"new"
    assert not (tmp_path / "report").is_symlink()
    assert (tmp_path / "victim").read_text() == "dear"
    assert mode(tmp_path / "report") == 0o600


def test_atomic_write_leaves_the_old_file_when_it_fails(tmp_path, monkeypatch):
    atomic_write(tmp_path / "report", b"old")

    def full(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        atomic_write(tmp_path / "report", b"new")
    assert (tmp_path / "report").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


def test_atomic_write_onto_a_folder_fails_and_leaves_nothing(tmp_path):
    (tmp_path / "report").mkdir()
    with pytest.raises(OSError, match="directory"):
        atomic_write(tmp_path / "report", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["report"]
