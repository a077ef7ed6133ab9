"""The files that a task declares as its outputs: taken into the cache after a success, put back by a hit.

Only plain files below the task's own folder are taken and written. Every folder on the way is opened by descriptor without following
links, and a file appears whole, by rename, or not at all.
"""

from __future__ import annotations

import os
import secrets
import stat
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import PurePosixPath

import msgspec

from .keys import matches

MAX_FILES = 10_000
"""Files of one entry; more are not cached."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class UncacheableError(Exception):
    """The outputs cannot be kept or put back as they are; the message says why."""


class OutputFile(msgspec.Struct, frozen=True, array_like=True):
    """One file: path relative to the task's folder, permission bits, and its bytes compressed by zlib."""

    path: str
    mode: int
    size: int
    data: bytes


def collect(cwd: str, patterns: Sequence[str], max_bytes: int) -> tuple[OutputFile, ...]:
    """All files that the patterns match.

    Raises `UncacheableError` when a hit could not restore them all: a pattern without a match, links, files outside `cwd`, more than
    `max_bytes` (uncompressed) or `MAX_FILES`; and `OSError`.
    """
    if not patterns:
        return ()
    names: set[str] = set()
    for pattern in patterns:
        found = matches(pattern, cwd)
        if not found:
            raise UncacheableError(f"its output {pattern!r} matches no file")
        names.update(found)
    if len(names) > MAX_FILES:
        raise UncacheableError(f"its outputs are more than {MAX_FILES:,} files")
    files: list[OutputFile] = []
    left = max_bytes
    with _opened(cwd) as root:
        for name in sorted(names):
            files.append(_take(root, name, left))
            left -= files[-1].size
    return tuple(files)


def restore(cwd: str, files: Sequence[OutputFile]) -> None:
    """Write all files that are not there with the same bytes already.

    Raises `UncacheableError` (a link or something else that is no file is in the way) and `OSError`. All bytes are on disk before the
    first name changes.
    """
    if not files:
        return
    with _opened(cwd) as root:
        prepared: list[tuple[OutputFile, str]] = []
        try:
            for file in files:
                temporary = _prepare(root, file)
                if temporary:
                    prepared.append((file, temporary))
            for file, temporary in prepared:
                with _parent(root, file.path) as (folder, name):
                    os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            _discard(root, prepared)
            raise


def _take(root: int, name: str, max_bytes: int) -> OutputFile:
    with _parent(root, name) as (folder, last):
        fd = _open_plain(folder, last, name)
    with os.fdopen(fd, "rb") as file:
        status = os.fstat(fd)
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise UncacheableError(f"its outputs are larger than the limit of one entry (at {name!r})")
    return OutputFile(name, stat.S_IMODE(status.st_mode) & 0o777, len(data), zlib.compress(data, 1))


def _prepare(root: int, file: OutputFile) -> str:
    """Name of a complete temporary file beside the target; empty when the target is right as it is."""
    data = _expand(file)
    with _parent(root, file.path, create=True) as (folder, name):
        if _is_same(folder, name, file, data):
            return ""
        temporary = f".mi4-{secrets.token_hex(8)}.tmp"
        fd = os.open(
            temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder
        )
        try:
            with os.fdopen(fd, "wb") as target:
                target.write(data)
                os.fchmod(fd, file.mode & 0o777)
        except BaseException:
            os.unlink(temporary, dir_fd=folder)
            raise
        return temporary


def _expand(file: OutputFile) -> bytes:
    """The bytes; an entry that unpacks to another size than it says is refused before it fills the memory."""
    unpacker = zlib.decompressobj()
    try:
        data = unpacker.decompress(file.data, file.size + 1)
    except zlib.error as error:
        raise UncacheableError(f"its stored output {file.path!r} is damaged") from error
    if len(data) != file.size:
        raise UncacheableError(f"its stored output {file.path!r} has the wrong size")
    return data


def _is_same(folder: int, name: str, file: OutputFile, data: bytes) -> bool:
    """Whether the target has these bytes and this mode; raises `UncacheableError` when it is no plain file."""
    try:
        fd = _open_plain(folder, name, file.path)
    except FileNotFoundError:
        return False
    with os.fdopen(fd, "rb") as there:
        status = os.fstat(fd)
        return (
            status.st_size == file.size and stat.S_IMODE(status.st_mode) & 0o777 == file.mode and there.read() == data
        )


def _open_plain(folder: int, name: str, shown: str) -> int:
    """A descriptor for reading of a plain file; never of a link, and a FIFO does not block."""
    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if not stat.S_ISREG(status.st_mode):
        raise UncacheableError(f"its output {shown!r} is no plain file")
    return os.open(name, _FILE, dir_fd=folder)


@contextmanager
def _opened(path: str) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def _parent(root: int, name: str, create: bool = False) -> Iterator[tuple[int, str]]:
    """The folder of `name` below `root` as a descriptor, reached without following a link, and the last part of the name."""
    path = PurePosixPath(name)
    if path.is_absolute() or not path.parts or any(part in {"..", "."} for part in path.parts):
        raise UncacheableError(f"its output {name!r} is outside its folder")
    folder = os.dup(root)
    try:
        for part in path.parts[:-1]:
            folder = _step(folder, part, name, create)
        yield folder, path.parts[-1]
    finally:
        os.close(folder)


def _step(folder: int, part: str, name: str, create: bool) -> int:
    """Go one folder down; closes the old descriptor when it returns."""
    if create:
        with suppress(FileExistsError):
            os.mkdir(part, dir_fd=folder)
    try:
        inner = os.open(part, _FOLDER, dir_fd=folder)
    except NotADirectoryError:
        raise UncacheableError(f"its output {name!r} goes through a link or a file") from None
    os.close(folder)
    return inner


def _discard(root: int, prepared: Sequence[tuple[OutputFile, str]]) -> None:
    for file, temporary in prepared:
        with suppress(OSError, UncacheableError), _parent(root, file.path) as (folder, _):
            os.unlink(temporary, dir_fd=folder)
