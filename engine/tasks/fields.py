"""The check of one task as it stands in a file: every field by itself, then what they mean together.

One table says which fields exist and how each is read; a reader returns the value for `Task`, or raises `FieldError` with what would be
right. It is a table of functions and not a validation library because 100,000 tasks are checked before the first one starts. It is
longer than other modules because the table and its small readers belong together.
"""

from __future__ import annotations

import difflib
import math
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from .model import AGENT_KINDS, KINDS, Priority, Task
from .records import MAX_DEPTH, UNUSABLE, ExactFloat, name_of, show

MAX_ID = 300
"""Characters of an id: it becomes part of messages and, made safe, of file names."""
MAX_TEXT = 2**20
"""Characters of any text of a task; all of a task travels to workers and viewers in one frame."""
_CALLABLE = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_DONE = {"done", "closed", "completed"}
_OPEN = {"open", "todo", "pending"}
_HELD = {"held"}

Reader = Callable[[Any], Any]


class FieldError(Exception):
    """A field is wrong; the message goes on after the field's name."""


@dataclass(frozen=True, slots=True)
class Folders:
    """What relative paths of a file start at; both absolute."""

    cwd: str
    source: str


def read_task(record: Any, folders: Folders) -> tuple[Task | None, list[tuple[str, str]]]:
    """The task of one record, or None and what is wrong with it as (field or ``""``, message)."""
    if not isinstance(record, dict):
        return None, [("", f"a task is a table of fields, not {name_of(record)}")]
    values: dict[str, Any] = {"cwd": folders.cwd, "source_dir": folders.source}
    faults = _read_fields(record, values)
    if record.get("id") is None:
        faults.append(("id", "id is missing" if "id" not in record else "id is empty"))
    if not faults:
        faults = _check_together(record, values)
    if faults:
        return None, [fault for fault in faults if fault[1]]
    if not values["cwd"].startswith("/"):
        values["cwd"] = str(Path(folders.cwd, values["cwd"]))
    return Task(**values), []


def _read_fields(record: Mapping[str, Any], values: dict[str, Any]) -> list[tuple[str, str]]:
    """Fill `values` one by one; an empty message stands for a fault that the reader of the file has told."""
    faults: list[tuple[str, str]] = []
    for name, raw in record.items():
        if raw is None and name in FIELDS:
            continue
        if raw is UNUSABLE:
            faults.append((name, ""))
        elif name not in FIELDS:
            faults.append((name, unknown_field(name)))
        else:
            target, read = FIELDS[name]
            if target != name and (record.get(target) is not None or target in values):
                other = target if record.get(target) is not None else _written_as(target, record)
                faults.append((name, f"{name} and {other} mean the same; keep one"))
                continue
            try:
                values[target] = read(raw)
            except FieldError as error:
                faults.append((name, f"{name} {error}"))
    return faults


def unknown_field(name: str) -> str:
    """What is wrong with a field of this name."""
    near = difflib.get_close_matches(name.lower(), FIELDS, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "what only you need belongs in 'meta'"
    return f"unknown field {show(name)}; {hint}"


# Fields together


def _check_together(record: Mapping[str, Any], values: dict[str, Any]) -> list[tuple[str, str]]:
    """Settle what the task runs; `values` are complete and right one by one."""
    if values.get("status") == "done":
        # Nothing of it will run, and what it waited for may long be gone from the file.
        values.pop("dependencies", None)
        return []
    command, callable_ = values.get("command"), values.get("callable")
    kind = values.get("kind", "")
    if not kind and (command is None) != (callable_ is None):
        kind = values["kind"] = "python" if command is None else "shell"
    faults = _misplaced(kind, values)
    if isinstance(command, str) and not values.get("shell"):
        faults.append(("command", "command is one text; write a list, or add shell: true to have a shell run it"))
    if isinstance(command, tuple) and values.get("shell"):
        faults.append(("shell", "shell: true needs a command that is one text, not a list"))
    if not faults and not _has_work(kind, values):
        faults.append(("", _MISSING.get(kind, _MISSING_PROMPT)))
    if not faults and values["id"] in values.get("dependencies", ()):
        faults.append((_written_as("dependencies", record), "the task depends on itself"))
    return faults


_MISSING = {
    "shell": "a shell task needs a command, such as command: [make, test]",
    "python": "a python task needs a callable, such as callable: package.module:function",
}
_MISSING_PROMPT = "there is nothing to do: give a description (for an agent), a command, or a callable"


def _has_work(kind: str, values: Mapping[str, Any]) -> bool:
    if kind == "shell":
        return values.get("command") is not None
    if kind == "python":
        return bool(values.get("callable"))
    return bool(values.get("description", "").strip() or values.get("title", "").strip())


def _misplaced(kind: str, values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Fields that change what runs, where the kind has no use for them."""
    if not kind and values.get("command") is not None and values.get("callable"):
        return [("callable", "there is a command and a callable; keep one, or say which by kind")]
    allowed = {"shell": {"command", "shell", "stdin"}, "python": {"callable", "args", "kwargs", "stdin"}}.get(
        kind, set()
    )
    name = f"{kind} task" if kind else "task for the default agent"
    article = "an" if kind == "acp" else "a"
    return [
        (field, f"{field} has no meaning for {article} {name}")
        for field in ("command", "shell", "callable", "args", "kwargs", "stdin")
        if values.get(field) and field not in allowed
    ]


def _written_as(target: str, record: Mapping[str, Any]) -> str:
    return next((name for name in record if name in FIELDS and FIELDS[name][0] == target), target)


def field_names(target: str) -> list[str]:
    """The names under which a file may give the field `target` of `Task`."""
    return [name for name, (field, _) in FIELDS.items() if field == target]


# Readers of one value


def _text(value: Any) -> str:
    if isinstance(value, str):
        if len(value) > MAX_TEXT:
            raise FieldError(f"has {len(value):,} characters; the limit is {MAX_TEXT:,}")
        if not value.isascii():
            _check_unicode(value)
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if value is UNUSABLE:
        return ""
    raise FieldError(f"must be a text, not {name_of(value)}{_quote_hint(value)}")


def _quote_hint(value: Any) -> str:
    return "; put it in quotes" if isinstance(value, bool | float) else ""


def _check_unicode(value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise FieldError("holds half of a surrogate pair, which is no character") from error


def _system_text(value: Any) -> str:
    """A text that is handed to the operating system."""
    text = _text(value)
    if "\0" in text:
        raise FieldError("must not hold a NUL character")
    return text


def _filled(value: Any) -> str:
    text = _system_text(value)
    if not text.strip():
        raise FieldError("must not be empty")
    return text


def _id(value: Any) -> str:
    text = _filled(value)
    if not text.isprintable() and any(unicodedata.category(char) == "Cc" for char in text):
        raise FieldError(f"must not hold control characters: {show(text)}")
    if len(text) > MAX_ID:
        raise FieldError(f"has {len(text):,} characters; the limit is {MAX_ID}")
    return text


def _truth(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise FieldError(f"must be true or false, not {name_of(value)}")


def _one_of(*names: str) -> Reader:
    def read(value: Any) -> str:
        if isinstance(value, str) and value in names:
            return value
        near = difflib.get_close_matches(value.lower(), names, n=1) if isinstance(value, str) else []
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise FieldError(f"must be one of {', '.join(names)}, not {name_of(value)}{hint}")

    return read


def _status(value: Any) -> str:
    text = value.lower() if isinstance(value, str) else ""
    if text in _OPEN:
        return "open"
    if text in _DONE:
        return "done"
    if text in _HELD:
        return "held"
    raise FieldError(f"must be open (or todo, pending), held, or done (or closed, completed), not {name_of(value)}")


def _priority(value: Any) -> float:
    if isinstance(value, str):
        named = Priority.NAMES.get(value.lower())
        if named is not None:
            return named
    elif isinstance(value, int | float) and not isinstance(value, bool) and Priority.LOW <= value <= Priority.CRITICAL:
        return float(value)
    raise FieldError(f"must be low, normal, high, critical or a number from 100 to 400, not {name_of(value)}")


def _callable(value: Any) -> str:
    if isinstance(value, str) and _CALLABLE.fullmatch(value):
        return value
    raise FieldError(f"must be written package.module:function, not {name_of(value)}")


def _items(value: Any, read: Reader, example: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise FieldError(f"must be a list, such as {example}, not {name_of(value)}")
    try:
        return tuple([read(item) for item in value])
    except FieldError as error:
        raise FieldError(f"has an item that {error}") from error


def _word(value: Any) -> str:
    """A part of a command line: numbers as they are written."""
    return value.text if isinstance(value, ExactFloat) else _system_text(value)


def _command(value: Any) -> tuple[str, ...] | str:
    if isinstance(value, str):
        return _filled(value)
    words = _items(value, _word, "[make, test]")
    if not words or not words[0].strip():
        raise FieldError("is empty; the first item is the program")
    return words


def _texts(value: Any) -> tuple[str, ...]:
    return _items(value, _filled, "[a, b]")


def _dependencies(value: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_items(value, _filled, "[first, second]")))


def _name_of_variable(value: Any) -> str:
    text = _filled(value)
    if "=" in text:
        raise FieldError(f"is no name of a variable: {show(text)}; values belong in set_env")
    return text


def _env(value: Any) -> tuple[str, ...]:
    if isinstance(value, dict):
        raise FieldError("is a list of names; values belong in set_env")
    return _items(value, _name_of_variable, "[PATH, LANG]")


def _set_env(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise FieldError(f"must be a table of names and values, not {name_of(value)}")
    try:
        return {_name_of_variable(name): _word(content) for name, content in value.items()}
    except FieldError as error:
        raise FieldError(f"has an entry that {error}") from error


def _cwd(value: Any) -> str:
    text = _filled(value)
    if text.startswith("~"):
        raise FieldError("is not expanded: write the whole path instead of ~")
    return text


def _seconds(value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf:
        return float(value)
    raise FieldError(f"must be a number of seconds above 0, not {name_of(value)}")


def _whole(low: int, high: int) -> Reader:
    def read(value: Any) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        raise FieldError(f"must be a whole number from {low} to {high:,}, not {name_of(value)}")

    return read


def _moment(value: Any) -> float:
    """Seconds since the epoch; a time without an offset is local time."""
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value).timestamp()
        except (ValueError, OverflowError, OSError):
            pass
    raise FieldError(f"must be a time such as 2026-01-31T09:30:00+01:00, not {name_of(value)}")


def _json(value: Any, depth: int = 0) -> Any:
    """A value that can travel to a worker: no deep nesting, no broken text, plain numbers."""
    if depth > MAX_DEPTH:
        raise FieldError(f"is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, ExactFloat):
        return float(value)
    if isinstance(value, list):
        return [_json(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {_text(key): _json(item, depth + 1) for key, item in value.items()}
    return None if value is UNUSABLE else value


def _json_list(value: Any) -> tuple[Any, ...]:
    if isinstance(value, list):
        return tuple(_json(value))
    raise FieldError(f"must be a list, not {name_of(value)}")


def _json_table(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        table: dict[str, Any] = _json(value)
        return table
    raise FieldError(f"must be a table, not {name_of(value)}")


_READERS: dict[str, Reader] = {
    "id": _id,
    "title": _system_text,
    "description": _system_text,
    "status": _status,
    "kind": _one_of(*KINDS),
    "command": _command,
    "shell": _truth,
    "callable": _callable,
    "args": _json_list,
    "kwargs": _json_table,
    "stdin": _text,
    "cwd": _cwd,
    "env": _env,
    "set_env": _set_env,
    "clean_env": _truth,
    "priority": _priority,
    "category": _text,
    "tags": _texts,
    "dependencies": _dependencies,
    "run_if": _one_of("success", "failure", "always"),
    "created_at": _moment,
    "timeout_seconds": _seconds,
    "stall_seconds": _seconds,
    "max_retries": _whole(0, 1000),
    "restart": _one_of("on-crash", "never"),
    "idempotent": _truth,
    "not_before": _moment,
    "due_at": _moment,
    "version": _text,
    "cache": _truth,
    "inputs": _texts,
    "outputs": _texts,
    "verify": _command,
    "workspace": _one_of("inplace", "scratch", "worktree"),
    "token_budget": _whole(1, 10**12),
    "model": _text,
    "agent_options": _json_table,
    "external_ref": _text,
    "meta": _json_table,
}
_ALIASES = {
    "name": "title",
    "prompt": "description",
    "cmd": "command",
    "depends_on": "dependencies",
    "deps": "dependencies",
    "labels": "tags",
    "timeout": "timeout_seconds",
    "retries": "max_retries",
}
FIELDS: dict[str, tuple[str, Reader]] = {
    **{name: (name, read) for name, read in _READERS.items()},
    **{alias: (target, _READERS[target]) for alias, target in _ALIASES.items()},
}
"""Every name that a file may use: the field of `Task` and its reader."""
AGENT_ONLY = ("workspace", "token_budget", "model", "agent_options")
"""Fields that only agents look at."""


def idle_fields(task: Task) -> list[str]:
    """Fields that the file gives and nothing will read: agents' fields on a task that is no agent's."""
    if not task.kind or task.kind in AGENT_KINDS:
        return []
    return [name for name in AGENT_ONLY if getattr(task, name)]
