"""Where the socket of an engine is, and who is at the other end of it.

A socket path may have about 100 bytes. The socket is in the state folder where that fits, else in a private folder of the user below
``$XDG_RUNTIME_DIR`` or ``/tmp``; clients find it by the lock file of the state folder.
"""

from __future__ import annotations

import hashlib
import os
import socket
import stat
import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import StateFolderError
from ..storage.folder import StateFolder

MAX_PATH = 100
"""Bytes of a socket path that every system takes (Linux 107, macOS 103)."""

_UCRED = struct.Struct("iII")
_XUCRED = struct.Struct("IIh16I")
_LOCAL_PEERCRED = 1


@dataclass(frozen=True, slots=True)
class Peer:
    """The process at the other end of a unix socket, as the kernel knows it."""

    uid: int
    pid: int
    """0 where the system does not tell."""


def socket_path(folder: Path, environ: Mapping[str, str]) -> Path:
    """Where the engine of this state folder listens. Makes the private folder where one is needed.

    Raises `StateFolderError` when that folder belongs to another user or is open to others.
    """
    path = StateFolder(folder.absolute()).socket_hint
    if len(os.fsencode(path)) <= MAX_PATH:
        return path
    name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
    short = private_folder(environ) / f"{name}.sock"
    if len(os.fsencode(short)) > MAX_PATH:
        short = private_folder({}) / f"{name}.sock"
    return short


def private_folder(environ: Mapping[str, str]) -> Path:
    """The folder of this user for sockets, made if missing: 0700, below ``$XDG_RUNTIME_DIR`` or ``/tmp``; raises `StateFolderError`."""
    base = Path(environ.get("XDG_RUNTIME_DIR") or "/tmp")
    if not base.is_absolute() or not base.is_dir():
        base = Path("/tmp")
    folder = base / f"mi4-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise StateFolderError(f"cannot make {folder} for the engine's socket: {error.strerror}", folder) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise StateFolderError(
            f"{folder} is not a folder that only you can enter; remove it, or set XDG_RUNTIME_DIR", folder
        )
    return folder


def listen(path: Path) -> socket.socket:
    """A listening socket at `path` that only this user can open; takes the place of a stale one.

    The caller holds the lock of the state folder, so a socket that is there is nobody's. Raises `StateFolderError`.
    """
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        server.bind(os.fspath(path))
        path.chmod(0o600)
        server.listen(64)
        server.setblocking(False)
    except OSError as error:
        server.close()
        raise StateFolderError(f"cannot listen on {path}: {error.strerror or error}", path) from error
    except StateFolderError:
        server.close()
        raise
    return server


def remove(path: Path, inode: int) -> None:
    """Remove the socket, if it is still the one with this inode."""
    try:
        if path.lstat().st_ino == inode:
            path.unlink()
    except OSError:
        return


def peer_of(connection: socket.socket) -> Peer | None:
    """Who is at the other end; None where the system cannot tell."""
    try:
        if sys.platform == "darwin":
            raw = connection.getsockopt(0, _LOCAL_PEERCRED, _XUCRED.size)
            return Peer(uid=_XUCRED.unpack(raw.ljust(_XUCRED.size, b"\0"))[1], pid=0)
        pid, uid, _ = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    except (OSError, AttributeError, struct.error):
        return None
    return Peer(uid=uid, pid=max(pid, 0))


def is_ours(peer: Peer | None) -> bool:
    """Whether the process at the other end belongs to this user."""
    return peer is not None and peer.uid == os.getuid()


def _remove_stale(path: Path) -> None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise StateFolderError(f"{path} is in the way of the engine's socket; move it elsewhere", path)
    path.unlink()
