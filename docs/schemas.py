"""Writes the JSON Schemas of task files and of `mi4.toml` from the code: `python docs/schemas.py`, or `--check` to only compare.

An editor that knows them completes names and marks mistakes while one types. They say what a file may hold as far as a schema can; the
program checks more (ids that exist, cycles, files that are there).
"""
# ruff: noqa: T201 - it says what it did

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, get_args

from engine.config import Settings, describe_sections
from engine.tasks.fields import FIELDS, MAX_ID
from engine.tasks.model import AGENT_KINDS, KINDS, Priority, Restart, RunIf, Workspace

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
FOLDER = Path(__file__).resolve().parent

# Values of a task


def any_case(*words: str) -> Schema:
    """One of the words; editors offer them as they are, and any case is right."""
    patterns = ["".join(f"[{char.upper()}{char}]" for char in word) for word in words]
    return {"anyOf": [{"enum": list(words)}, {"type": "string", "pattern": f"^({'|'.join(patterns)})$"}]}


def list_of(item: Schema, **more: Any) -> Schema:
    """A list of such items."""
    return {"type": "array", "items": item, **more}


NOT_NULL: Schema = {"not": {"type": "null"}}
DONE = ("done", "closed", "completed")
TEXT: Schema = {"type": ["string", "integer"]}
TRUTH: Schema = {"type": "boolean"}
ANY_LIST: Schema = {"type": "array"}
ANY_TABLE: Schema = {"type": "object"}
SYSTEM_TEXT: Schema = {**TEXT, "pattern": r"^[^\u0000]*$"}
FILLED: Schema = {**TEXT, "pattern": r"^[^\u0000]*[^\s\u0000][^\u0000]*$"}
WORD: Schema = {"type": ["string", "number"], "pattern": r"^[^\u0000]*$"}
NAME: Schema = {**TEXT, "pattern": r"^[^=\u0000]*[^\s=\u0000][^=\u0000]*$"}
SECONDS: Schema = {"type": "number", "exclusiveMinimum": 0}
MOMENT: Schema = {
    "type": "string",
    "pattern": r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}:\d{2})?)?$",
    "examples": ["2026-01-31T09:30:00+01:00"],
}
COMMAND: Schema = {
    "anyOf": [
        {**FILLED, "type": "string"},
        {**list_of(WORD, minItems=1), "prefixItems": [{**WORD, "pattern": FILLED["pattern"]}]},
    ]
}
FIELD_SCHEMAS: dict[str, tuple[Schema, str]] = {
    "id": (
        {**TEXT, "pattern": r"^[^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f][^\u0000-\u001f\u007f-\u009f]*$",
         "maxLength": MAX_ID},
        "Unique in a state folder; a number means its text.",
    ),
    "title": (SYSTEM_TEXT, "One line for people."),
    "description": (SYSTEM_TEXT, "What is to be done; for an agent, the prompt."),
    "status": (
        any_case("open", "todo", "pending", *DONE),
        "A task that is done does not run, and satisfies the tasks that depend on it.",
    ),
    "kind": ({"enum": list(KINDS)}, "What runs it; without a kind it follows from command or callable, else the default agent."),
    "command": (COMMAND, "A list of arguments, or one text with shell: true."),
    "shell": (TRUTH, "Let /bin/sh run the command, which is then one text."),
    "callable": (
        {"type": "string", "pattern": r"^[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*$", "examples": ["package.module:function"]},
        "A Python function, as package.module:function.",
    ),
    "args": (ANY_LIST, "Positional arguments of the callable."),
    "kwargs": (ANY_TABLE, "Named arguments of the callable."),
    "stdin": (TEXT, "Text for the standard input."),
    "cwd": ({**TEXT, "pattern": r"^(?!~)[^\u0000]*[^\s\u0000][^\u0000]*$"}, "Folder to run in; relative paths start at the working folder."),
    "env": (list_of(NAME), "Names of variables that matter for the result."),
    "set_env": (
        {"type": "object", "propertyNames": {"pattern": NAME["pattern"]}, "additionalProperties": WORD},
        "Variables to set.",
    ),
    "clean_env": (TRUTH, "Pass on only the variables that env names."),
    "priority": (
        {"anyOf": [*any_case(*Priority.NAMES)["anyOf"], {"type": "number", "minimum": Priority.LOW, "maximum": Priority.CRITICAL}]},
        "A name, or a number between the lowest and the highest of them.",
    ),
    "category": (TEXT, "What it belongs to; a category can have a limit."),
    "tags": (list_of(FILLED), "Free words."),
    "dependencies": (list_of(FILLED), "Ids of tasks that must end first."),
    "run_if": ({"enum": list(get_args(RunIf))}, "Which end of its dependencies it needs."),
    "created_at": (MOMENT, "When it came up; older tasks score higher. Else the time of adding."),
    "timeout_seconds": (SECONDS, "Longest run time."),
    "stall_seconds": (SECONDS, "Longest time without output."),
    "max_retries": ({"type": "integer", "minimum": 0, "maximum": 1000}, "Attempts after the first one that failed."),
    "restart": ({"enum": list(get_args(Restart))}, "never: it runs at most once, even after a crash."),
    "idempotent": (TRUTH, "Run again after a crash without asking."),
    "not_before": (MOMENT, "It does not start before."),
    "due_at": (MOMENT, "When it should have ended; for the eye."),
    "version": (TEXT, "Part of the cache key."),
    "cache": (TRUTH, "Let a stored result stand in for running it."),
    "inputs": (list_of(FILLED), "Files (globs) whose content enters the cache key."),
    "outputs": (list_of(FILLED), "Files (globs) that a stored result restores."),
    "verify": (COMMAND, "The task succeeds only if this command exits with 0."),
    "workspace": ({"enum": list(get_args(Workspace))}, "Where an agent works."),
    "token_budget": ({"type": "integer", "minimum": 1, "maximum": 10**12}, "Tokens that an agent may use."),
    "model": (TEXT, "Model of the agent."),
    "agent_options": (ANY_TABLE, "Options of the agent."),
    "external_ref": (TEXT, "Where it came from, such as gh-12."),
    "meta": (ANY_TABLE, "What only you need; it is kept and never looked at."),
}  # fmt: skip
"""By field of a task: what may stand there, and what it means."""


def aliases(target: str) -> list[str]:
    """Every name of a field, its own first."""
    return [target, *(name for name, (field, _) in FIELDS.items() if field == target and name != target)]


# A task as a whole


def given(target: str, value: Schema | None = None) -> Schema:
    """The field stands there under one of its names, with such a value."""
    options = [{"required": [name], "properties": {name: value or NOT_NULL}} for name in aliases(target)]
    return options[0] if len(options) == 1 else {"anyOf": options}


def idle(*targets: str) -> Schema:
    """These fields are left out, or say nothing."""
    nothing: Schema = {"enum": [None, "", [], {}, False]}
    return {"properties": {name: nothing for target in targets for name in aliases(target)}}


def is_kind(*kinds: str) -> Schema:
    """The task says that it is one of these kinds."""
    return {"required": ["kind"], "properties": {"kind": {"enum": list(kinds)}}}


def rules() -> list[Schema]:
    """What fields mean together, for a task that is still to be done."""
    no_kind = {"not": given("kind")}
    python_only, shell_only = ("callable", "args", "kwargs"), ("command", "shell")
    return [
        {"anyOf": [given("title", FILLED), given("description", FILLED), given("command"), given("callable")]},
        {"if": is_kind("shell"), "then": {"allOf": [given("command"), idle(*python_only)]}},
        {"if": is_kind("python"), "then": {"allOf": [given("callable"), idle(*shell_only)]}},
        {"if": is_kind(*AGENT_KINDS), "then": idle(*shell_only, *python_only, "stdin")},
        {"if": {"allOf": [no_kind, given("command")]}, "then": idle(*python_only)},
        {
            "if": {"allOf": [no_kind, {"not": given("command")}, {"not": given("callable")}]},
            "then": idle("shell", "args", "kwargs", "stdin"),
        },
        {"if": given("command", {"type": "string"}), "then": given("shell", {"const": True})},
        {"if": given("shell", {"const": True}), "then": given("command", {"type": "string"})},
    ]


def task() -> Schema:
    """One task."""
    targets = {target for target, _ in FIELDS.values()}
    if targets != set(FIELD_SCHEMAS):
        raise SystemExit(f"docs/schemas.py does not know these fields of a task: {targets ^ set(FIELD_SCHEMAS)}")
    properties = {}
    for target, (schema, meaning) in FIELD_SCHEMAS.items():
        for name in aliases(target):
            says = meaning if name == target else f"The same as {target}."
            properties[name] = {"description": says, **(schema if name == "id" else or_nothing(schema))}
    twice = [
        {"not": {"required": [name, other], "properties": {name: NOT_NULL, other: NOT_NULL}}}
        for target in FIELD_SCHEMAS
        for at, name in enumerate(aliases(target))
        for other in aliases(target)[at + 1 :]
    ]
    is_done = {"required": ["status"], "properties": {"status": any_case(*DONE)}}
    return {
        "type": "object",
        "required": ["id"],
        "properties": properties,
        "additionalProperties": False,
        "allOf": [*twice, {"if": is_done, "else": {"allOf": rules()}}],
    }


def or_nothing(schema: Schema) -> Schema:
    """The same, or null, which is as good as leaving the field out."""
    if "type" in schema:
        kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        return {**schema, "type": [*kinds, "null"]}
    if "enum" in schema:
        return {**schema, "enum": [*schema["enum"], None]}
    return {**schema, "anyOf": [*schema["anyOf"], {"type": "null"}]}


def tasks() -> Schema:
    """A task file: a list of tasks, or a table that holds one."""
    listed = list_of({"$ref": "#/$defs/task"})
    table = {
        "type": "object",
        "required": ["tasks"],
        "properties": {"$schema": {"type": "string"}, "tasks": listed},
        "patternProperties": {"^x-": True},
        "additionalProperties": False,
    }
    return {
        "$schema": DIALECT,
        "title": "Tasks of mi4-tui",
        "description": "A task file in JSON or YAML. In JSON Lines every line is one task.",
        "anyOf": [listed, table],
        "$defs": {"task": task()},
    }


# Settings


def settings() -> Schema:
    """The file `mi4.toml`."""
    made = Settings.model_json_schema()
    sections = {}
    for name, about in describe_sections().items():
        section = made["$defs"][made["properties"][name]["$ref"].rpartition("/")[2]]
        fields = {key: setting(schema) for key, schema in section["properties"].items()}
        sections[name] = {"type": "object", "description": about, "properties": fields, "additionalProperties": False}
    return {
        "$schema": DIALECT,
        "title": "Settings of mi4-tui",
        "type": "object",
        "properties": sections,
        "additionalProperties": False,
    }


def setting(schema: Schema) -> Schema:
    """One setting, without what the generator adds for its own use."""
    kept = {key: value for key, value in schema.items() if key != "title"}
    if "ge" not in kept:
        return kept
    low = kept.pop("ge")
    del kept["type"]
    as_text = {"type": "string", "pattern": r"^[1-9]\d*(\.\d+)? ?[KkMmGgTt][Ii]?[Bb]$", "examples": ["64MiB"]}
    return {**kept, "anyOf": [{"type": "integer", "minimum": low}, as_text]}


# The files

SCHEMAS = {"tasks.schema.json": tasks, "mi4.schema.json": settings}
"""By name of the file in this folder."""


def text_of(schema: Schema) -> str:
    """As it stands in the file."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def main() -> int:
    """Write or check; 1 when a check finds an old file."""
    old = []
    for name, make in SCHEMAS.items():
        path, text = FOLDER / name, text_of(make())
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            old.append(name)
            if "--check" not in sys.argv:
                path.write_text(text, encoding="utf-8")
    if "--check" in sys.argv:
        print(f"old: {', '.join(old)}; run python docs/schemas.py" if old else "the schemas agree with the code")
        return int(bool(old))
    print(f"written: {', '.join(old) or 'nothing, all agree with the code'}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
