"""``import``: bring backlogs of other programs in, or show with ``--dry-run`` what that would do."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from engine.foreground import reach, stored_ids
from engine.session.protocol import AddTasks, View
from engine.tasks.lifecycle import FINAL
from engine.tasks.taskfile import TaskFile, TaskFileSet, read_task_files

from .add import with_agent
from .asking import say, say_aside, say_json
from .options import Place, json_option, place_options

_STATUSES = ("open", "held", "done")


@click.command("import", options_metavar="[OPTIONS]")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path())
@click.option(
    "--dry-run", is_flag=True, help="Only show what is in the files: tasks, what is skipped and why, warnings."
)
@click.option("--agent", default="", metavar="NAME", help="Agent for tasks that do not name a kind.")
@click.option("--rerun", is_flag=True, help="Run tasks again that already succeeded.")
@json_option
@place_options
def import_(files: tuple[str, ...], dry_run: bool, agent: str, rerun: bool, place: Place, as_json: bool) -> int:
    r"""Add the tasks of files that other programs wrote; a second import updates what has changed since.

    Known are tasks.json of task-master, issues.jsonl of beads, issues of GitHub as JSON (gh issue list --state all --limit 1000
    --json number,title,body,state,stateReason,labels,milestone,createdAt,url), and every format of task files. No file is changed.

    \b
      mi4-tui import --dry-run .taskmaster/tasks/tasks.json
      mi4-tui import .beads/issues.jsonl
    """
    if dry_run:
        folder = Path(place.request().folder)
        read = read_task_files([Path(file) for file in files], cwd=Path.cwd(), known=lambda: stored_ids(folder))
        show_plan(read, stored_ids(folder), as_json=as_json)
        return 0
    return asyncio.run(_import(place, files, agent, rerun=rerun, as_json=as_json))


# Without --dry-run


@dataclass(frozen=True)
class Outcome:
    """What became of the tasks of an import; lists of ids."""

    added: list[str]
    updated: list[str]
    unchanged: list[str]
    refused: dict[str, str]
    """Id -> why."""

    @classmethod
    def of(cls, data: dict[str, Any], read: TaskFileSet, before: Mapping[str, str]) -> Outcome:
        """From the reply of the engine, and the states of the tasks that there were before."""
        refused = dict(data.get("refused", {}))
        same = {*data.get("already_done", ()), *data.get("already_open", ())}
        # Done in the file: news for a task that was open, and none for one that is over.
        same |= {name for name in data.get("not_needed", ()) if before.get(name) in FINAL}
        taken = [task.id for task in read.tasks if task.id not in refused and task.id not in same]
        return cls(
            added=[name for name in taken if name not in before],
            updated=[name for name in taken if name in before],
            unchanged=[task.id for task in read.tasks if task.id in same],
            refused=refused,
        )


async def _import(place: Place, files: tuple[str, ...], agent: str, *, rerun: bool, as_json: bool) -> int:
    request = place.request(files=files)
    async with reach(request, view=View(workers=()), create=True) as reached:
        before = {row.id: row.state for row in reached.session.projection.rows.values()}
        read = read_task_files([Path(file) for file in files], cwd=Path(request.cwd), known=before)
        for note in read.warnings:
            say_aside(note)
        reply = await reached.session.ask(AddTasks(tasks=with_agent(read.tasks, agent), rerun=rerun))
    outcome = Outcome.of(reply.data, read, before)
    _tell(outcome, read, live=reached.live, as_json=as_json)
    return int(bool(outcome.refused))


def _tell(outcome: Outcome, read: TaskFileSet, *, live: bool, as_json: bool) -> None:
    counts = {name: len(getattr(outcome, name)) for name in ("added", "updated", "unchanged", "refused")}
    if as_json:
        totals = _totals(read.files)
        say_json(
            {"ok": not outcome.refused, "live": live, **vars(outcome), "totals": totals | counts, "files": _files(read)}
        )
        return
    say([", ".join(f"{count:,} {name}" for name, count in counts.items() if count or name != "refused")])
    for name, why in outcome.refused.items():
        say_aside(f"{name}: {why}")
    if sum(task.status == "held" for task in read.tasks):
        say_aside("some are held; 'mi4-tui release ID...' lets them run")
    if not live and (outcome.added or outcome.updated):
        say_aside("no engine works on this folder; 'mi4-tui' starts one on what is open")


# With --dry-run


def show_plan(read: TaskFileSet, stored: Collection[str], *, as_json: bool) -> None:
    """Print what is in the files; `stored` are the ids that the state folder has."""
    known = sum(task.id in stored for task in read.tasks)
    if as_json:
        totals = _totals(read.files) | {"new": len(read.tasks) - known, "known": known}
        say_json({"ok": True, "dry_run": True, "totals": totals, "files": _files(read)})
        return
    for file in read.files:
        say([*_lines(file)])
    tasks = _many(len(read.tasks), "task")
    say([f"{tasks}: {len(read.tasks) - known:,} new, {known:,} known; nothing was changed"])


def _lines(file: TaskFile) -> Iterator[str]:
    """One file for people."""
    counts = _counts(file)
    states = ", ".join(f"{counts[status]:,} {status}" for status in _STATUSES if counts[status])
    yield f"{file.path}: {file.format}, {_many(len(file.tasks), 'task')}" + (f" ({states})" if states else "")
    yield from _section("skipped", [str(skipped) for skipped in file.skipped])
    yield from _section("warnings", file.warnings)
    yield from _section("unmet dependencies", [f"{task} on {other}" for task, other in file.unmet])
    yield from _section("cycles", file.cycles)


def _section(title: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield f"  {title}: {len(lines):,}"
        yield from (f"    {line}" for line in lines)


def _counts(file: TaskFile) -> Counter[str]:
    return Counter(task.status for task in file.tasks)


def _totals(files: Iterable[TaskFile]) -> dict[str, int]:
    totals: Counter[str] = Counter(
        dict.fromkeys(("tasks", *_STATUSES, "skipped", "warnings", "unmet_dependencies", "cycles"), 0)
    )
    for file in files:
        totals.update(_counts(file))
        totals.update(
            tasks=len(file.tasks),
            skipped=len(file.skipped),
            warnings=len(file.warnings),
            unmet_dependencies=len(file.unmet),
            cycles=len(file.cycles),
        )
    return dict(totals)


def _files(read: TaskFileSet) -> list[dict[str, Any]]:
    """Each file as a record."""
    return [
        {
            "path": str(file.path),
            "format": file.format,
            **_totals([file]),
            "ids": [task.id for task in file.tasks],
            "skipped": [{"line": skipped.line, "reason": skipped.message} for skipped in file.skipped],
            "warnings": list(file.warnings),
            "unmet_dependencies": [{"task": task, "dependency": other} for task, other in file.unmet],
            "cycles": list(file.cycles),
        }
        for file in read.files
    ]


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
