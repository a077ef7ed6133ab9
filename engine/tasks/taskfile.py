"""Task files: from paths to checked tasks, or to every fault of every file at once.

JSON (a list, or a table with "tasks"), JSON Lines and YAML are known by the file's ending; nothing is run, and nothing is guessed.
"""

from __future__ import annotations

import gc
import os
import stat
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import Fault, TaskFileError
from .fields import Folders, field_names, idle_fields, read_task
from .graph import GraphFault, check_graph
from .json_text import read_json, read_json_lines
from .model import Task
from .records import Places, Records, show
from .yaml_text import read_yaml

MAX_BYTES = 512 * 2**20
"""Size of a task file; far above 100,000 tasks."""
READERS: dict[str, Callable[[str], Records]] = {
    ".json": read_json,
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".yaml": read_yaml,
    ".yml": read_yaml,
}
"""Formats by the ending of the file's name."""


@dataclass(frozen=True, slots=True)
class TaskFile:
    """One file that was read without a fault."""

    path: Path
    """As the user named it."""
    tasks: tuple[Task, ...]
    warnings: tuple[str, ...] = ()
    """One line each, with the place: what is allowed and probably not meant."""


@dataclass(frozen=True, slots=True)
class TaskFileSet:
    """All files of one command, checked together."""

    files: tuple[TaskFile, ...]

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks of all files, in order."""
        return tuple(task for file in self.files for task in file.tasks)

    @property
    def warnings(self) -> tuple[str, ...]:
        """The warnings of all files."""
        return tuple(warning for file in self.files for warning in file.warnings)


@dataclass(slots=True)
class _Reading:
    """One file while it is read; `numbers` are the positions of its good records."""

    name: str
    records: Records
    tasks: list[Task]
    numbers: list[int]
    faults: list[Fault]
    warnings: list[str]
    places: Places | None = None

    def line(self, number: int, field: str = "") -> int | None:
        """Where record `number` (from 0), or one of its fields, stands."""
        if self.places is None:
            self.places = self.records.locate()
        if number >= len(self.places):
            return None
        place = self.places[number]
        return place.get(field, place[""])


def read_task_files(
    paths: Sequence[Path], *, cwd: Path, known: Collection[str] | Callable[[], Collection[str]] = ()
) -> TaskFileSet:
    """Read and check all files; relative paths start at `cwd`.

    `known` are ids that exist already, which tasks may depend on; a function is only called when a dependency is in no file.
    Raises `TaskFileError` with every fault of every file.
    """
    with _no_collection():
        readings = [_read(path, cwd) for path in paths]
        _check_ids(readings)
        _check_dependencies(readings, known)
    faults = [fault for reading in readings for fault in sorted(reading.faults, key=lambda fault: fault.line or 0)]
    if faults:
        raise TaskFileError(faults)
    files = zip(paths, readings, strict=True)
    return TaskFileSet(tuple(TaskFile(path, tuple(r.tasks), tuple(r.warnings)) for path, r in files))


@contextmanager
def _no_collection() -> Iterator[None]:
    """While a big file is read the garbage collector finds nothing and takes a third of the time."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _read(path: Path, cwd: Path) -> _Reading:
    name, full = str(path), Path(cwd, path).absolute()
    reading = _Reading(name, Records(), [], [], [], [])
    try:
        text = _load(full)
        reading.records = _reader(full)(text)
    except ValueError as problem:
        reading.records.faults.append(_split_problem(problem))
    reading.faults += [Fault(name, line, message) for line, message in reading.records.faults]
    _check_records(reading, Folders(str(cwd.absolute()), str(full.parent)))
    if not reading.records.items and not reading.faults:
        reading.warnings.append(f"{name}: holds no tasks")
    return reading


def _split_problem(problem: ValueError) -> tuple[int | None, str]:
    line, message = problem.args if len(problem.args) == 2 else (None, str(problem))
    return line, message


def _reader(path: Path) -> Callable[[str], Records]:
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise ValueError(f"not a known format {show(path.suffix)}; name the file {', '.join(READERS)}")
    return reader


def _load(path: Path) -> str:
    """The text of a regular file; raises `ValueError` with (line, message) or a message."""
    data = _load_bytes(path)
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError("is UTF-16; save it as UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(line, f"not UTF-8 text: the byte 0x{data[error.start]:02x} cannot stand there") from error
    if not text.strip():
        raise ValueError("is empty; write a list of tasks, each with an id and what to do")
    return text


def _load_bytes(path: Path) -> bytes:
    try:
        # Not blocking, so that a pipe nobody writes to cannot hang the command before it is seen to be one.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise ValueError("no such file") from error
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot be read: {getattr(error, 'strerror', None) or error}") from error
    try:
        _check_kind(os.fstat(descriptor))
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error
    finally:
        os.close(descriptor)


def _check_kind(status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise ValueError("is a folder; name a task file in it")
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("is not a regular file; save the tasks to a file first")
    if status.st_size > MAX_BYTES:
        raise ValueError(f"has {status.st_size:,} bytes; the limit is {MAX_BYTES:,}")


def _check_records(reading: _Reading, folders: Folders) -> None:
    """Turn the records into tasks; each fault gets its line."""
    for number, record in enumerate(reading.records.items):
        task, faults = read_task(record, folders)
        if task is not None:
            reading.tasks.append(task)
            reading.numbers.append(number)
            for field in idle_fields(task):
                line = reading.line(number, field)
                reading.warnings.append(f"{reading.name}:{line}: {field} has no effect on a {task.kind} task")
        for field, message in faults:
            reading.faults.append(Fault(reading.name, reading.line(number, field), _about(record, message)))


def _about(record: object, message: str) -> str:
    """The message with the id of its task, where that can be told."""
    task_id = record.get("id") if isinstance(record, dict) else None
    return f"task {show(str(task_id))}: {message}" if isinstance(task_id, str | int) else message


def _check_ids(readings: list[_Reading]) -> None:
    first: dict[str, tuple[_Reading, int]] = {}
    for reading in readings:
        for task, number in zip(reading.tasks, reading.numbers, strict=True):
            if first.setdefault(task.id, (reading, number)) == (reading, number):
                continue
            other, other_number = first[task.id]
            place = f"{other.name}:{other.line(other_number, 'id')}"
            message = f"the id {show(task.id)} is taken by {place}"
            reading.faults.append(Fault(reading.name, reading.line(number, "id"), message))


def _check_dependencies(readings: list[_Reading], known: Collection[str] | Callable[[], Collection[str]]) -> None:
    tasks = [task for reading in readings for task in reading.tasks]
    given = () if callable(known) else known
    faults = check_graph(tasks, given)
    if not faults:
        return
    # A task that is wrong itself is known by its id all the same: that it is missing here is no second fault.
    wrong = {_id_text(record) for reading in readings if reading.faults for record in reading.records.items}
    stored = known() if callable(known) else known
    unreadable = any(reading.faults and not reading.records.items for reading in readings)
    _place_graph_faults(readings, check_graph(tasks, _Anything() if unreadable else {*wrong, *stored}))


class _Anything(frozenset[str]):
    """Every id: while a file cannot be read, nobody can say that an id does not exist."""

    def __contains__(self, item: object) -> bool:
        return True


def _id_text(record: object) -> str:
    return str(record.get("id")) if isinstance(record, dict) else ""


def _place_graph_faults(readings: list[_Reading], faults: list[GraphFault]) -> None:
    places = {
        task.id: (reading, number)
        for reading in reversed(readings)
        for task, number in zip(reversed(reading.tasks), reversed(reading.numbers), strict=True)
    }
    for fault in faults:
        reading, number = places[fault.task_id]
        given = [name for name in field_names("dependencies") if name in reading.records.items[number]]
        line = reading.line(number, given[0] if given else "")
        reading.faults.append(Fault(reading.name, line, f"task {show(fault.task_id)}: {fault.message}"))
