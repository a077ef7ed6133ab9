"""Task files: from paths to checked tasks, or to every fault of every file at once.

Files of ours (JSON, JSON Lines, YAML, TOML, CSV, Markdown) are read strictly: one fault and nothing starts. Files of other programs are
read as far as they can be understood, and the rest is told (`engine.tasks.foreign`). Nothing is run, and no file is written.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import Fault, TaskFileError
from .fields import Folders, field_names, idle_fields, read_task
from .foreign import refuse_doubles, settle_foreign
from .formats import read_text
from .graph import GraphFault, check_graph
from .model import Task
from .reading import Reading, load_text
from .records import show

MAX_WARNINGS = 20
"""Warnings of one file that a run tells; ``mi4-tui import --dry-run`` tells them all."""


@dataclass(frozen=True, slots=True)
class TaskFile:
    """One file that was read without a fault."""

    path: Path
    """As the user named it."""
    tasks: tuple[Task, ...]
    warnings: tuple[str, ...] = ()
    """One line each, with the place: what is allowed and probably not meant."""
    format: str = ""
    """Name of its format for people, such as ``yaml`` or ``task-master``."""
    is_foreign: bool = False
    """Whether another program wrote it."""
    skipped: tuple[Fault, ...] = ()
    """What stands in it and is no task, with the reasons."""
    unmet: tuple[tuple[str, str], ...] = ()
    """Of files of other programs: (task, dependency) where nobody knows the dependency; the task does not wait for it."""
    cycles: tuple[str, ...] = ()
    """Of files of other programs: ``a -> b -> a`` for each group of tasks that was left out because they wait for each other."""

    def notes(self) -> Iterator[str]:
        """What a run tells of the file: not too many lines."""
        yield from self.warnings[:MAX_WARNINGS]
        more = len(self.warnings) - MAX_WARNINGS
        hint = f"'mi4-tui import --dry-run {self.path}' lists them"
        if more > 0:
            yield f"{self.path}: {more:,} more warnings; {hint}"
        if self.is_foreign and self.skipped:
            yield f"{self.path}: {len(self.skipped):,} entries do not become tasks; {hint}"


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
        """What a run tells of all files."""
        return tuple(note for file in self.files for note in file.notes())


def read_task_files(
    paths: Sequence[Path], *, cwd: Path, known: Collection[str] | Callable[[], Collection[str]] = ()
) -> TaskFileSet:
    """Read and check all files; relative paths start at `cwd`.

    `known` are ids that exist already, which tasks may depend on; a function is only called when a dependency is in no file.
    Raises `TaskFileError` with every fault of every file.
    """
    with _no_collection():
        known = _once(known)
        readings = _read_all(paths, cwd)
        refuse_doubles(readings)
        _check_ids(readings)
        settle_foreign(readings, known)
        _check_dependencies(readings, known)
    faults = [fault for reading in readings for fault in sorted(reading.faults, key=lambda fault: fault.line or 0)]
    if faults:
        raise TaskFileError(faults)
    return TaskFileSet(tuple(_file(path, reading) for path, reading in zip(paths, readings, strict=True)))


def _file(path: Path, reading: Reading) -> TaskFile:
    return TaskFile(
        path=path,
        tasks=tuple(reading.tasks),
        warnings=tuple(reading.warnings),
        format=reading.records.format,
        is_foreign=reading.records.foreign,
        skipped=tuple(sorted(reading.skipped, key=lambda skipped: skipped.line or 0)),
        unmet=tuple(reading.unmet),
        cycles=tuple(reading.cycles),
    )


def _once(known: Collection[str] | Callable[[], Collection[str]]) -> Callable[[], Collection[str]]:
    """The known ids, asked for at most once."""
    found: list[Collection[str]] = []

    def ask() -> Collection[str]:
        if not found:
            found.append(known() if callable(known) else known)
        return found[0]

    return ask


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


def _read_all(paths: Sequence[Path], cwd: Path) -> list[Reading]:
    readings = []
    for path in paths:
        reading = Reading(str(path))
        readings.append(reading)
        full = Path(cwd, path).absolute()
        try:
            reading.records = read_text(full, load_text(full))
        except ValueError as problem:
            reading.records.faults.append(_split_problem(problem))
    _tell_repositories_apart(readings)
    for path, reading in zip(paths, readings, strict=True):
        _take_records(reading, Folders(str(cwd.absolute()), str(Path(cwd, path).absolute().parent)))
    return readings


def _tell_repositories_apart(readings: list[Reading]) -> None:
    """Issues of several repositories have their repository in the id, in whichever files they are."""
    if len({name for reading in readings for name in reading.records.repositories}) < 2:
        return
    for reading in readings:
        if reading.records.qualified is not None:
            reading.records = reading.records.qualified()


def _take_records(reading: Reading, folders: Folders) -> None:
    records = reading.records
    reading.faults += [Fault(reading.name, line, message) for line, message in records.faults]
    for line, message in records.warnings:
        reading.warn(line, message)
    for line, reason in records.skipped:
        reading.skip(line, reason)
    _check_records(reading, folders)
    if not records.items and not reading.faults:
        reading.warn(None, "holds no tasks")


def _split_problem(problem: ValueError) -> tuple[int | None, str]:
    line, message = problem.args if len(problem.args) == 2 else (None, str(problem))
    return line, message


def _check_records(reading: Reading, folders: Folders) -> None:
    """Turn the records into tasks; each fault gets its line."""
    for number, record in enumerate(reading.records.items):
        task, faults = read_task(record, folders)
        if task is not None:
            reading.tasks.append(task)
            reading.numbers.append(number)
            for field in idle_fields(task):
                reading.warn(reading.line(number, field), f"{field} has no effect on a {task.kind} task")
        elif reading.records.foreign:
            reading.skip(reading.line(number), _about(record, "; ".join(message for _, message in faults if message)))
            reading.refused.add(_id_text(record))
            continue
        for field, message in faults:
            reading.faults.append(Fault(reading.name, reading.line(number, field), _about(record, message)))


def _about(record: object, message: str) -> str:
    """The message with the id of its task, where that can be told."""
    task_id = record.get("id") if isinstance(record, dict) else None
    return f"task {show(str(task_id))}: {message}" if isinstance(task_id, str | int) else message


def _check_ids(readings: list[Reading]) -> None:
    first: dict[str, tuple[Reading, int]] = {}
    for reading in readings:
        for task, number in zip(reading.tasks, reading.numbers, strict=True):
            if first.setdefault(task.id, (reading, number)) == (reading, number):
                continue
            other, other_number = first[task.id]
            place = f"{other.name}:{other.line(other_number, 'id')}"
            message = f"the id {show(task.id)} is taken by {place}"
            reading.faults.append(Fault(reading.name, reading.line(number, "id"), message))


def _check_dependencies(readings: list[Reading], known: Callable[[], Collection[str]]) -> None:
    tasks = [task for reading in readings for task in reading.tasks]
    if not check_graph(tasks):
        return
    # A task that is wrong itself is known by its id all the same: that it is missing here is no second fault.
    wrong = {_id_text(record) for reading in readings if reading.faults for record in reading.records.items}
    unreadable = any(reading.faults and not reading.records.items for reading in readings)
    _place_graph_faults(readings, check_graph(tasks, _Anything() if unreadable else {*wrong, *known()}))


class _Anything(frozenset[str]):
    """Every id: while a file cannot be read, nobody can say that an id does not exist."""

    def __contains__(self, item: object) -> bool:
        return True


def _id_text(record: object) -> str:
    return str(record.get("id")) if isinstance(record, dict) else ""


def _place_graph_faults(readings: list[Reading], faults: list[GraphFault]) -> None:
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
