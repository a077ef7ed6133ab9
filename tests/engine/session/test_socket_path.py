"""The socket is where only its user can reach it, on a path that fits."""

from __future__ import annotations

import os
import socket

import pytest

from engine.errors import StateFolderError
from engine.session.socket_path import MAX_PATH, Peer, is_ours, listen, peer_of, private_folder, remove, socket_path


def test_in_the_state_folder_where_that_is_short_enough(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = socket_path(tmp_path.__class__("."), {})
    if len(str(tmp_path)) < 80:
        assert found == tmp_path / "engine.sock"


@pytest.fixture
def deep(tmp_path):
    folder = tmp_path / ("d" * 60) / ("e" * 60)
    folder.mkdir(parents=True)
    return folder


def test_below_the_runtime_folder_where_it_is_not(deep, tmp_path):
    runtime = tmp_path / "r"
    runtime.mkdir()
    found = socket_path(deep, {"XDG_RUNTIME_DIR": str(runtime)})
    private = found.parent
    if len(str(runtime)) < 60:
        assert private == runtime / f"mi4-{os.getuid()}"
    assert private.stat().st_mode & 0o777 == 0o700
    assert len(os.fsencode(found)) <= MAX_PATH


def test_the_same_folder_has_the_same_socket_and_another_has_another(deep, tmp_path):
    runtime = {"XDG_RUNTIME_DIR": str(tmp_path)}
    other = deep / "other"
    other.mkdir()
    assert socket_path(deep, runtime) == socket_path(deep, runtime)
    assert socket_path(deep, runtime) != socket_path(other, runtime)


def test_a_runtime_folder_that_is_too_long_itself_is_not_used(deep):
    assert socket_path(deep, {"XDG_RUNTIME_DIR": str(deep)}).parent == private_folder({})


@pytest.mark.parametrize("value", ["", "relative/path", "/does/not/exist"])
def test_without_a_usable_runtime_folder_it_is_below_tmp(value):
    assert str(private_folder({"XDG_RUNTIME_DIR": value})) == f"/tmp/mi4-{os.getuid()}"


def test_a_folder_that_others_can_enter_is_refused(tmp_path):
    folder = tmp_path / f"mi4-{os.getuid()}"
    folder.mkdir()
    folder.chmod(0o755)
    with pytest.raises(StateFolderError, match="not a folder that only you can enter"):
        private_folder({"XDG_RUNTIME_DIR": str(tmp_path)})


def test_a_link_in_its_place_is_refused(tmp_path):
    target = tmp_path / "target"
    target.mkdir(mode=0o700)
    (tmp_path / f"mi4-{os.getuid()}").symlink_to(target)
    with pytest.raises(StateFolderError, match="only you"):
        private_folder({"XDG_RUNTIME_DIR": str(tmp_path)})


def test_a_file_in_its_place_is_refused(tmp_path):
    (tmp_path / f"mi4-{os.getuid()}").write_text("")
    with pytest.raises(StateFolderError, match="cannot make"):
        private_folder({"XDG_RUNTIME_DIR": str(tmp_path)})


def test_a_folder_of_another_user_is_refused(tmp_path, monkeypatch):
    ours = os.getuid()
    private_folder({"XDG_RUNTIME_DIR": str(tmp_path)}).rename(tmp_path / f"mi4-{ours + 1}")
    monkeypatch.setattr(os, "getuid", lambda: ours + 1)
    with pytest.raises(StateFolderError, match="only you"):
        private_folder({"XDG_RUNTIME_DIR": str(tmp_path)})


def test_peers_are_known_by_the_kernel():
    left, right = socket.socketpair()
    with left, right:
        assert peer_of(left) == Peer(uid=os.getuid(), pid=os.getpid())
        assert is_ours(peer_of(left))


def test_nobody_and_others_are_not_ours():
    with socket.socket(socket.AF_INET) as stranger:
        assert not is_ours(peer_of(stranger)) or peer_of(stranger).pid == 0
    assert not is_ours(None)
    assert not is_ours(Peer(uid=os.getuid() + 1, pid=1))


def test_only_ones_own_socket_is_removed(tmp_path):
    path = tmp_path / "s"
    with listen(path):
        inode = path.lstat().st_ino
        remove(path, inode + 1)
        assert path.exists()
        remove(path, inode)
        assert not path.exists()
        remove(path, inode)
