"""The state folder: private, checked before use, and the only place where the engine keeps what must last.

The folder belongs to the user alone (mode 0700, files 0600). Whatever somebody could have planted there (symbolic and hard links,
FIFOs, folders in the place of files) is refused before it is opened, with one line that says what to do.
"""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import StateFolderError

_OURS = frozenset({"state.db", "engine.lock", "engine.log", "logs", "progress"})
"""Names by which an existing folder is known to be a state folder."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class StateFolder:
    """A state folder that was checked; its properties name what lies in it."""

    path: Path
    """Absolute."""

    @classmethod
    def open(cls, path: Path, create: bool = True) -> StateFolder:
        """Check the folder and make what is missing in it (the folder itself only with `create`).

        A folder that others can read is closed to them if it is empty or a state folder already. Raises `StateFolderError`.
        """
        path = Path(os.path.abspath(path))  # noqa: PTH100 (resolve() would follow a planted link)
        try:
            if create:
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
            _check_root(path)
            for name in ("logs", "progress"):
                (path / name).mkdir(mode=0o700, exist_ok=True)
                _make_private(path / name)
        except OSError as error:
            if isinstance(error, FileNotFoundError) and not create:
                raise StateFolderError(
                    f"there is no state folder at {path}; run a task file first, or name another with --state-dir", path
                ) from None
            raise StateFolderError(
                f"cannot use the state folder {path}: {error.strerror}; name another with --state-dir", path
            ) from error
        return cls(path)

    @property
    def database(self) -> Path:
        """The state database."""
        return self.path / "state.db"

    @property
    def logs(self) -> Path:
        """Folder of the output of attempts that did not fit into the database."""
        return self.path / "logs"

    @property
    def progress(self) -> Path:
        """Folder of the progress pages of worker hosts."""
        return self.path / "progress"

    @property
    def lock(self) -> Path:
        """The lock file of `engine.session.lock`."""
        return self.path / "engine.lock"

    @property
    def socket_hint(self) -> Path:
        """Where the session socket goes if the path is short enough for a socket; the lock file says where it really is."""
        return self.path / "engine.sock"

    @property
    def engine_log(self) -> Path:
        """What an engine in the background has to say."""
        return self.path / "engine.log"


def _check_root(path: Path) -> None:
    """Refuse a folder that is not ours to close; close it otherwise."""
    names = set(os.listdir(path))  # noqa: PTH208 (names only)
    if names and not names & _OURS:
        raise StateFolderError(
            f"{path} holds other files and is no state folder; name an empty or a new one with --state-dir", path
        )
    _make_private(path)


def _make_private(path: Path) -> None:
    """Mode 0700, or an error when the folder is a link, another user's, or writable by others."""
    try:
        fd = os.open(path, _DIRECTORY)
    except NotADirectoryError:
        what = "a symbolic link" if path.is_symlink() else "no folder"
        raise StateFolderError(
            f"{path} is {what}; remove it, or name another state folder with --state-dir", path
        ) from None
    try:
        status = os.fstat(fd)
        if status.st_uid != os.geteuid():
            raise StateFolderError(f"{path} belongs to another user; name a folder of your own with --state-dir", path)
        if status.st_mode & 0o022:
            raise StateFolderError(f"others can write to {path}; check what is in it, then run: chmod 700 {path}", path)
        if status.st_mode & 0o077:
            os.fchmod(fd, 0o700)
    finally:
        os.close(fd)


def create_private(path: Path) -> int:
    """A descriptor, open for writing, of a new file with mode 0600; raises `FileExistsError` where anything is there already."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def check_private(path: Path) -> bool:
    """Whether the file exists, as a plain file of ours with one name; raises `StateFolderError` if it is anything else."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(status.st_mode):
        raise StateFolderError(f"{path} is not a plain file; remove it and start again", path)
    if status.st_nlink != 1:
        raise StateFolderError(f"{path} has a second name (hard link) elsewhere; remove it and start again", path)
    if status.st_uid != os.geteuid():
        raise StateFolderError(f"{path} belongs to another user; name a folder of your own with --state-dir", path)
    return True


def atomic_write(path: Path, data: bytes) -> None:
    """Replace `path` by a file of mode 0600 with this content, whole or not at all, and durable.

    A symbolic link at `path` is replaced, not followed. Raises `OSError`; then nothing has changed.
    """
    temporary = path.with_name(f".{path.name[:200]}.{secrets.token_hex(6)}.tmp")
    fd = create_private(temporary)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make names that were created, renamed or removed in this folder durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
