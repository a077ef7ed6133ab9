"""The one detector: which format a text is in, by what it says first and by the file's name second, and so how it is read.

What another program wrote (task-master, beads, GitHub) is known by fields that a task file of ours does not have, and is read tolerantly;
everything else is read strictly.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from .checklist import records_of_items
from .csv_text import read_csv
from .imports.backlog import Backlog
from .imports.beads import read_beads
from .imports.github import issues_of, read_github, repositories_of
from .imports.taskmaster import read_taskmaster
from .json_text import Document, Line, Located, decode_document, decode_lines, decode_located, records_of_lines
from .markdown_text import has_boxes, read_outline
from .records import Records, show
from .speckit import is_speckit, records_of_speckit
from .toml_text import read_toml
from .yaml_text import read_yaml

SAMPLE = 50
"""Records that are looked at to know whose file it is."""
_JSON_LINES = (".jsonl", ".ndjson")
_TOML_START = re.compile(r"^[ \t]*\[\[[ \t]*tasks?[ \t]*\]\]", re.MULTILINE)
_NATIVE_WORK = {"command", "cmd", "callable", "kind", "depends_on", "deps"}
_TASKMASTER_FIELDS = {"subtasks", "testStrategy", "details"}


def read_text(path: Path, text: str) -> Records:
    """All tasks of a text that was read from `path`; raises `ValueError` where nothing says what it is."""
    suffix = path.suffix.lower()
    reader = READERS.get(suffix) or _guess(text)
    if reader is None:
        raise ValueError(f"not a known format {show(path.suffix)}; name the file {', '.join(READERS)}")
    return reader(path, text)


def _guess(text: str) -> Callable[[Path, str], Records] | None:
    """How to read a text whose name says nothing."""
    if _TOML_START.match(text.lstrip()):
        return _read_toml
    if text.lstrip()[:1] in ("[", "{"):
        return _read_json
    return _read_markdown if has_boxes(text) else None


def _named(name: str, records: Records) -> Records:
    records.format = records.format or name
    return records


def _read_yaml(_: Path, text: str) -> Records:
    return _named("yaml", read_yaml(text))


def _read_toml(_: Path, text: str) -> Records:
    return _named("toml", read_toml(text))


def _read_csv(_: Path, text: str) -> Records:
    return _named("csv", read_csv(text))


def _read_tsv(_: Path, text: str) -> Records:
    return _named("tsv", read_csv(text, delimiter="\t"))


def _read_markdown(_: Path, text: str) -> Records:
    outline = read_outline(text)
    if is_speckit(outline):
        return _named("spec-kit", records_of_speckit(outline))
    return _named("markdown", records_of_items(outline))


# JSON, of whichever program


def _read_json(path: Path, text: str) -> Records:
    document = decode_document(text)
    if document.more:
        # Several values: lines of another program under a name that promises one document.
        whose = owner_of([line.value for line in _sample(text)], path)
        return _read_lines(path, text) if whose else _named("json", document.records())
    whose = "" if document.faults else owner_of(document.root, path)
    return _foreign_document(document, whose) if whose else _named("json", document.records())


def _read_json_lines(path: Path, text: str) -> Records:
    if text.lstrip().startswith("["):
        document = decode_document(text)
        if not document.faults and isinstance(document.root, list):
            return _read_json(path, text)
    return _read_lines(path, text)


def _sample(text: str) -> Iterator[Line]:
    """The first lines that can be read."""
    head = "\n".join(text.split("\n", SAMPLE)[:SAMPLE])
    return (line for line in decode_lines(head) if line.readable)


def _read_lines(path: Path, text: str) -> Records:
    whose = owner_of([line.value for line in _sample(text)], path)
    if whose not in ("beads", "github"):
        return _named("json lines", records_of_lines(decode_lines(text)))
    lines = list(decode_lines(text))
    entries = [(line.value, line.number) for line in lines if line.readable]
    envelope = len(entries) == 1 and isinstance(entries[0][0], dict) and "data" in entries[0][0]
    if envelope:
        entries = [(value, entries[0][1]) for value in _beads_list(entries[0][0])]
    bad = [(line.number, message) for line in lines if not line.readable for message in line.faults]
    odd = [(line.number, f"{message}; it is left out") for line in lines if line.readable for message in line.faults]

    def read(*, qualify: bool = False) -> Records:
        backlog = _read_entries(whose, entries, qualify=qualify)
        backlog.skipped += bad
        backlog.warnings += odd
        return backlog.records()

    return _with_repositories(read(), whose, (value for value, _ in entries), lambda: read(qualify=True))


def _foreign_document(document: Document, whose: str) -> Records:
    root, line_of = decode_located(document.text)

    def line(place: Any) -> int | None:
        return line_of(place) if isinstance(place, Located) else None

    def read(*, qualify: bool = False) -> Records:
        if whose == "task-master":
            backlog = read_taskmaster(root)
        else:
            issues = _beads_list(root) if whose == "beads" else issues_of(root)
            backlog = _read_entries(whose, [(issue, issue) for issue in issues], qualify=qualify)
        records = backlog.records(line)
        records.warnings += document.scan()
        return records

    repositories = issues_of(root) if whose == "github" else ()
    return _with_repositories(read(), whose, repositories, lambda: read(qualify=True))


def _read_entries(whose: str, entries: Sequence[tuple[Any, Any]], *, qualify: bool) -> Backlog:
    return read_beads(entries) if whose == "beads" else read_github(entries, qualify=qualify)


def _with_repositories(
    records: Records, whose: str, issues: Iterable[Any], qualified: Callable[[], Records]
) -> Records:
    if whose == "github":
        records.repositories, records.qualified = repositories_of(issues), qualified
    return records


def _beads_list(root: Any) -> list[Any]:
    if isinstance(root, dict):
        data = root.get("data", root)
        return data if isinstance(data, list) else [data]
    return list(root)


def owner_of(root: Any, path: Path) -> str:
    """Whose file this is: ``task-master``, ``beads``, ``github``, or nothing where it is one of ours or of nobody that is known."""
    folder = set(path.parts)
    if isinstance(root, dict):
        return _owner_of_table(root, folder)
    if not isinstance(root, list):
        return ""
    records = [record for record in root[:SAMPLE] if isinstance(record, dict)]
    if len(records) == 1 and "schema_version" in records[0] and "data" in records[0]:
        return "beads"
    if any(_is_issue_of_beads(record) for record in records):
        return "beads"
    if any(_is_issue_of_github(record) for record in records):
        return "github"
    if any(_is_task_of_taskmaster(record) for record in records):
        return "task-master"
    foreign = records and not any(_NATIVE_WORK & record.keys() for record in records)
    return "beads" if foreign and ".beads" in folder else ""


def _owner_of_table(root: dict[str, Any], folder: set[str]) -> str:
    if "schema_version" in root and "data" in root:
        return "beads"
    if _is_issue_of_github(root) or (
        isinstance(root.get("items"), list) and owner_of(root["items"], Path()) == "github"
    ):
        return "github"
    if _is_issue_of_beads(root):
        return "beads"
    tasks = root.get("tasks")
    if isinstance(tasks, list):
        sample = [task for task in tasks[:SAMPLE] if isinstance(task, dict)]
        foreign = any(_is_task_of_taskmaster(task) for task in sample) or isinstance(root.get("metadata"), dict)
        foreign = foreign or (".taskmaster" in folder and not any(_NATIVE_WORK & task.keys() for task in sample))
        return "task-master" if foreign else ""
    tagged = [
        content for content in root.values() if isinstance(content, dict) and isinstance(content.get("tasks"), list)
    ]
    return "task-master" if tagged else ""


def _is_task_of_taskmaster(record: dict[str, Any]) -> bool:
    return "title" in record and bool(_TASKMASTER_FIELDS & record.keys()) and not _NATIVE_WORK & record.keys()


def _is_issue_of_beads(record: dict[str, Any]) -> bool:
    if "issue_type" in record or record.get("_type") in ("issue", "memory"):
        return True
    edges = record.get("dependencies")
    return isinstance(edges, list) and any(isinstance(edge, dict) and "depends_on_id" in edge for edge in edges)


def _is_issue_of_github(record: dict[str, Any]) -> bool:
    number = record.get("number")
    return isinstance(number, int) and not isinstance(number, bool) and "title" in record


READERS: dict[str, Callable[[Path, str], Records]] = {
    ".json": _read_json,
    **dict.fromkeys(_JSON_LINES, _read_json_lines),
    **dict.fromkeys((".yaml", ".yml"), _read_yaml),
    ".toml": _read_toml,
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    **dict.fromkeys((".md", ".markdown"), _read_markdown),
}
"""Readers by the ending of the file's name."""
