"""What makes two tasks the same for the cache: every field that can change the result, the named environment, the inputs by content.

Left out is what only says when, where in the queue, or how often a task runs. A file is known by its path below the task's folder
and its bytes; times and modes do not count.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import os
import stat
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from ..tasks.model import Task

FORMAT = 1
"""Part of every key: entries of another format are never found."""
_CHUNK = 1024 * 1024
_FIELDS = (
    "kind",
    "command",
    "shell",
    "callable",
    "args",
    "kwargs",
    "stdin",
    "cwd",
    "env",
    "set_env",
    "clean_env",
    "version",
    "inputs",
    "outputs",
    "verify",
    "workspace",
    "agent_options",
)
_AGENT_FIELDS = ("title", "description", "model", "token_budget")
"""What an agent is told; other kinds never see it."""


class CacheKey(msgspec.Struct, frozen=True):
    """The key of one task, as its folder was at one moment."""

    digest: str
    """Hex sha256 over everything; empty where no key could be made (an input cannot be read): such a task is not cached."""
    inputs: str
    """Hex sha256 over the content of the declared inputs, to be compared before a result is stored."""


def cache_key(task: Task, environ: Mapping[str, str]) -> CacheKey:
    """The key of `task` now; reads its inputs, so call it in a thread. Raises `OSError` when an input cannot be read."""
    inputs = inputs_digest(task)
    parts: dict[str, Any] = {name: getattr(task, name) for name in _FIELDS}
    parts["environ"] = {name: environ.get(name) for name in task.env}
    if task.is_agent:
        parts.update({name: getattr(task, name) for name in _AGENT_FIELDS})
    if task.kind == "python":
        parts["python"] = [task.source_dir, sys.version]
    text = msgspec.json.encode([FORMAT, inputs, parts], order="sorted")
    return CacheKey(hashlib.sha256(text).hexdigest(), inputs)


def inputs_digest(task: Task) -> str:
    """Hex sha256 over names and bytes of everything that the task's ``inputs`` match; a pattern without a match counts as such."""
    digest = hashlib.sha256()
    for pattern in task.inputs:
        digest.update(b"\0pattern\0" + os.fsencode(pattern))
        for name in matches(pattern, task.cwd):
            digest.update(b"\0file\0" + os.fsencode(name) + b"\0")
            digest.update(_content(Path(task.cwd, name)))
    return digest.hexdigest()


def matches(pattern: str, folder: str) -> list[str]:
    """Files that a glob matches, sorted, relative to `folder` where the pattern is; a matched folder stands for all files in it.

    As in a shell, names that begin with a dot are matched only by patterns that say so; in a matched folder they count.
    """
    found: set[str] = set()
    for name in glob.glob(pattern, root_dir=folder or None, recursive=True):  # noqa: PTH207 (pathlib has no root_dir)
        path = Path(folder, name)
        if path.is_dir():
            found.update(str(Path(name, inner)) for inner in _files_below(path))
        else:
            found.add(os.path.normpath(name))
    return sorted(found)


def _files_below(folder: Path) -> Iterator[Path]:
    """Files and links in a folder and those below it, relative to it. A state folder inside is none of the task's business."""
    for place, folders, files in os.walk(folder):
        if {"state.db", "engine.lock"} <= set(files):
            folders.clear()
            continue
        here = Path(place).relative_to(folder)
        yield from (here / name for name in files)
        yield from (here / name for name in folders if Path(place, name).is_symlink())


def _content(path: Path) -> bytes:
    """Digest of one file's bytes; raises `OSError` for what is no file (a FIFO is not waited for, a linked folder not searched)."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "is no plain file", str(path))
    digest = hashlib.sha256()
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY), "rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.digest()
