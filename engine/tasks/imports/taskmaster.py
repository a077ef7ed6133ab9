"""``tasks.json`` of task-master: one list for each tag, or the older form with one list, with subtasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..records import name_of, show
from .backlog import Backlog, Draft, Standing
from .values import id_of, items_of, prompt_of, rest_of, table_of, tags_of, text_of, title_of

DEFAULT_TAG = "master"
"""The tag of the older form, so that a file keeps its ids when it gets tags."""
_STANDINGS = {
    "": (Standing.OPEN, ""),
    "pending": (Standing.OPEN, ""),
    "open": (Standing.OPEN, ""),
    "todo": (Standing.OPEN, ""),
    "in-progress": (Standing.HELD, "in progress there"),
    "review": (Standing.HELD, "in review there"),
    "deferred": (Standing.HELD, "deferred there"),
    "blocked": (Standing.HELD, "blocked there"),
    "done": (Standing.DONE, ""),
    "completed": (Standing.DONE, ""),
    "cancelled": (Standing.LEFT_OUT, "cancelled"),
    "canceled": (Standing.LEFT_OUT, "cancelled"),
}
_PRIORITIES = {"critical": 400, "high": 300, "medium": 200, "normal": 200, "low": 100}
_USED = {
    "id", "title", "description", "details", "testStrategy", "status", "priority", "dependencies", "subtasks", "tags", "category",
    "acceptanceCriteria",
    # These change without the task changing, and a task that has changed runs again.
    "updatedAt", "previousStatus", "parentTaskId", "parentId", "parentTask",
}  # fmt: skip


def read_taskmaster(root: Any) -> Backlog:
    """All tasks of a whole document, whichever form it has."""
    backlog = Backlog("task-master")
    if isinstance(root, list):
        _read_tag(backlog, DEFAULT_TAG, root)
        return backlog
    if isinstance(root.get("tasks"), list):
        _read_tag(backlog, DEFAULT_TAG, root["tasks"])
        _tell_rest(backlog, root, {"tasks", "metadata", "meta"})
        return backlog
    for tag, content in root.items():
        tasks = table_of(content).get("tasks")
        if isinstance(tasks, list):
            _read_tag(backlog, text_of(tag) or DEFAULT_TAG, tasks)
            _tell_rest(backlog, content, {"tasks", "metadata"})
        elif tag not in ("metadata", "meta"):
            backlog.skip(content if isinstance(content, dict) else root, f"{show(tag)} is no list of tasks")
    return backlog


def _tell_rest(backlog: Backlog, table: Mapping[str, Any], known: set[str]) -> None:
    for key in table:
        if key not in known:
            backlog.skip(table, f"{show(key)} beside the tasks has no meaning here")


def _read_tag(backlog: Backlog, tag: str, tasks: list[Any]) -> None:
    for number, task in enumerate(tasks, 1):
        if not isinstance(task, dict):
            backlog.skip(None, f"entry {number} of {show(tag)} is {name_of(task)}, no task")
            continue
        name = id_of(task.get("id"))
        if not name:
            backlog.skip(task, f"a task of {show(tag)} without an id")
            continue
        parent = _draft(backlog, task, f"{tag}:{name}", tag)
        parent.waits_for |= _dependencies(backlog, parent, task, lambda word: f"{tag}:{word}")
        backlog.add(parent)
        if backlog.drafts[parent.id] is parent:
            _read_subtasks(backlog, parent, task, tag)


def _read_subtasks(backlog: Backlog, parent: Draft, task: Mapping[str, Any], tag: str) -> None:
    subtasks = items_of(task.get("subtasks"))
    named = {id_of(subtask.get("id")) for subtask in subtasks if isinstance(subtask, dict)}

    def full(word: str) -> str:
        """A bare number is a sibling if there is one, else a task."""
        return f"{parent.id}.{word}" if word in named else f"{tag}:{word}"

    for number, subtask in enumerate(subtasks, 1):
        if not isinstance(subtask, dict):
            backlog.skip(task, f"subtask {number} of {show(parent.id)} is {name_of(subtask)}, no task")
            continue
        name = id_of(subtask.get("id")) or str(number)
        own = name.removeprefix(f"{parent.id.removeprefix(tag + ':')}.")
        child = _draft(backlog, subtask, f"{parent.id}.{own}", tag)
        child.parent = parent.id
        child.fields.setdefault("category", parent.fields.get("category", ""))
        if subtask.get("priority") is None:
            child.fields["priority"] = parent.fields["priority"]
        child.fields["description"] += f"\n\nPart of: {parent.fields['title']}"
        child.waits_for |= _dependencies(backlog, child, subtask, full)
        _follow_parent(backlog, parent, child)
        backlog.add(child)
        if subtask.get("subtasks"):
            backlog.skip(subtask, f"subtasks of the subtask {show(child.id)}")


def _follow_parent(backlog: Backlog, parent: Draft, child: Draft) -> None:
    """A task that is over takes its subtasks with it."""
    if parent.standing is Standing.DONE and child.standing in (Standing.OPEN, Standing.HELD):
        child.standing = Standing.DONE
        backlog.warn(child.place, f"{show(child.id)} counts as done, because {show(parent.id)} is")
    elif parent.standing is Standing.LEFT_OUT and child.standing is not Standing.LEFT_OUT:
        child.standing, child.why = Standing.LEFT_OUT, "cancelled with its task"
        backlog.skip(child.place, f"{show(child.id)}: cancelled with its task")


def _draft(backlog: Backlog, task: Mapping[str, Any], task_id: str, tag: str) -> Draft:
    title = title_of(task.get("title")) or title_of(task.get("description"))
    if not title:
        title = f"Task {task_id}"
        backlog.warn(task, f"{show(task_id)} has neither a title nor a description")
    fields: dict[str, Any] = {
        "title": title,
        "description": prompt_of(
            title,
            ("", task.get("description")),
            ("", task.get("details")),
            ("Acceptance criteria", task.get("acceptanceCriteria")),
            ("Test strategy", task.get("testStrategy")),
        ),
        "priority": _priority(backlog, task, task_id),
        "external_ref": task_id,
        "tags": tags_of(items_of(task.get("tags"))),
        "meta": rest_of(task, _USED),
    }
    category = title_of(task.get("category")) or (tag if tag != DEFAULT_TAG else "")
    if category:
        fields["category"] = category
    standing, why = _standing(backlog, task, task_id)
    return Draft(task_id, task, fields, standing, why, holds_children=why in ("deferred there", "blocked there"))


def _standing(backlog: Backlog, task: Mapping[str, Any], task_id: str) -> tuple[Standing, str]:
    word = text_of(task.get("status")).lower().replace("_", "-")
    known = _STANDINGS.get(word)
    if known is None:
        backlog.warn(task, f"{show(task_id)} is held: its status {show(word)} is not known")
        return Standing.HELD, "of a status that is not known"
    standing, why = known
    if standing is Standing.HELD:
        backlog.warn(task, f"{show(task_id)} is held: {why}")
    elif standing is Standing.LEFT_OUT:
        backlog.skip(task, f"{show(task_id)}: {why}")
    return standing, why


def _priority(backlog: Backlog, task: Mapping[str, Any], task_id: str) -> int:
    word = text_of(task.get("priority")).lower()
    if word and word not in _PRIORITIES:
        backlog.warn(task, f"{show(task_id)}: its priority {show(word)} is not known; it gets normal")
    return _PRIORITIES.get(word, 200)


def _dependencies(backlog: Backlog, draft: Draft, task: Mapping[str, Any], full: Any) -> dict[str, None]:
    found: dict[str, None] = {}
    for value in items_of(task.get("dependencies")):
        words = [word.strip() for word in value.split(",")] if isinstance(value, str) else [id_of(value)]
        for word in words:
            if not word:
                backlog.warn(task, f"{show(draft.id)}: a dependency is {name_of(value)}; that is ignored")
            else:
                found[word if ":" in word else full(word)] = None
    return found
