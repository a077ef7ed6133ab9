"""Markdown checklists: each item with a box is a task, headings are categories, and an item waits for the items below it.

An id is what the item itself says (``T012``, ``#12``, ``{any-id}``), else it is made of headings and text, so that it stays the same as
long as those do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from .fields import MAX_ID
from .markdown_text import Item, Outline, plain, read_outline, slug
from .records import Records, show

_LEADING = re.compile(
    r"(?:\*\*)?(?:(?P<number>T[0-9]{1,9})|#(?P<hash>[0-9]{1,9})|\{#?(?P<name>[\w][\w.:/-]{0,99})\})(?:\*\*)?(?:[:.)]?(?=\s)|:)\s*"
)
_TRAILING = re.compile(r"\{#?(?P<name>[\w][\w.:/-]{0,99})\}")
_DEPENDS = re.compile(r"\((?:depends on|after|needs|requires|blocked by):?\s{1,4}([^()]{1,2000})\)", re.IGNORECASE)
_SEPARATOR = re.compile(r"\s*(?:,|;|&|\band\b)\s*")
_NAME = re.compile(r"(?P<number>T[0-9]{1,9})|#(?P<hash>[0-9]{1,9})|\{#?(?P<name>[\w][\w.:/-]{0,99})\}")
_RANGE = re.compile(r"T([0-9]{1,9})\s*(?:-|\u2013|\.\.|to)\s*T([0-9]{1,9})")
MAX_RANGE = 1000
"""Tasks that ``T001-T999`` may stand for."""
_LONGEST_TITLE = 200


def read_checklist(text: str) -> Records:
    """All tasks of a Markdown document."""
    return records_of_items(read_outline(text))


def records_of_items(outline: Outline) -> Records:
    """The tasks that the items of a document are."""
    records = Records(faults=outline.faults, warnings=outline.warnings, skipped=outline.skipped)
    entries = entries_of(outline, records)
    for entry in entries:
        records.items.append(entry.record)
    records.locate = lambda: [{"": entry.item.line} for entry in entries]
    return records


class Entry:
    """An item on its way to be a task. State: the record that is being filled."""

    __slots__ = ("dependencies", "explicit", "id", "item", "record", "text")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.explicit, self.text = split_id(item.text)
        self.id = self.explicit
        self.dependencies: dict[str, None] = {}
        """Ids, in order, without any twice."""
        self.record: dict[str, Any] = {}

    @property
    def waits(self) -> bool:
        """Whether it has not been done."""
        return not self.item.is_done


def entries_of(outline: Outline, records: Records) -> list[Entry]:
    """All items with their ids, dependencies and records; what is doubtful goes to the warnings of `records`."""
    entries = [Entry(item) for item in outline.items]
    _give_ids(entries)
    by_item = {id(entry.item): entry for entry in entries}
    for entry in entries:
        names, doubt = dependencies_in(entry.text)
        entry.dependencies.update(dict.fromkeys(names))
        if doubt:
            records.warnings.append(
                (
                    entry.item.line,
                    f"{doubt} names no task that can be waited for; write ids such as T012, #12 or {{id}}",
                )
            )
        if entry.item.mark not in " xX":
            records.warnings.append(
                (entry.item.line, f"the mark {show(entry.item.mark)} means neither open nor done: the task is held")
            )
        parent = by_item[id(entry.item.parent)] if entry.item.parent else None
        if parent:
            # Before its own children are added to it: a child starts when its parent could, and its parent ends last.
            entry.dependencies.update(dict.fromkeys(dependencies_in(parent.text)[0]))
    for entry in entries:
        if entry.item.parent:
            by_item[id(entry.item.parent)].dependencies[entry.id] = None
    for entry in entries:
        _fill(entry)
    return entries


def split_id(text: str) -> tuple[str, str]:
    """The id that an item gives itself, or nothing, and the rest of its text."""
    match = _LEADING.match(text)
    if match and text[match.end() :].strip():
        return _named(match), text[match.end() :].strip()
    cut = text.rfind("{")
    match = _TRAILING.fullmatch(text, cut) if cut > 0 else None
    if match and text[:cut].strip():
        return match["name"], text[:cut].strip()
    return "", text


def _named(match: re.Match[str]) -> str:
    return match["number"] or match["hash"] or match["name"]


def dependencies_in(text: str) -> tuple[list[str], str]:
    """The ids in ``(depends on T012, T013)``, and what looks like that without naming any."""
    names: list[str] = []
    doubt = ""
    for match in _DEPENDS.finditer(text):
        found = [_ids(word) for word in _SEPARATOR.split(match[1].strip()) if word]
        if all(found):
            names += [name for ids in found for name in ids]
        elif match[0].lower().startswith(("(depends on", "(blocked by")):
            doubt = show(match[0])
    return names, doubt


def _ids(word: str) -> list[str]:
    span = _RANGE.fullmatch(word)
    if span:
        first, last = int(span[1]), int(span[2])
        if not 0 <= last - first < MAX_RANGE:
            return []
        return [f"T{number:0{len(span[1])}}" for number in range(first, last + 1)]
    match = _NAME.fullmatch(word)
    return [_named(match)] if match else []


def _give_ids(entries: Sequence[Entry]) -> None:
    """Make the ids that are missing; equal ones get a number."""
    taken = {entry.id for entry in entries if entry.id}
    last: dict[str, int] = {}
    for entry in entries:
        if entry.id:
            continue
        name = candidate = _made_id(entry)
        while candidate in taken:
            last[name] = last.get(name, 1) + 1
            candidate = f"{name}-{last[name]}"
        entry.id = candidate
        taken.add(candidate)


def _made_id(entry: Entry) -> str:
    above = [split_id(item.text)[1] for item in entry.item.above()]
    parts = [slug(title, 32) for title in (*entry.item.headings, *reversed(above))]
    path = "/".join(parts)
    if len(path) > MAX_ID // 2:
        path = slug(path, MAX_ID // 2)
    name = slug(plain(_DEPENDS.sub("", entry.text)), 48)
    return f"{path}/{name}" if path else name


def _fill(entry: Entry) -> None:
    item = entry.item
    entry.record |= {"id": entry.id, "title": title_in(entry.text), "description": "\n".join(_prompt(entry)).strip()}
    if item.headings:
        entry.record["category"] = _short(item.headings[-1], 60)
    if entry.dependencies:
        entry.record["dependencies"] = [*entry.dependencies]
    entry.record["status"] = "done" if item.is_done else "open" if item.mark == " " else "held"


def _prompt(entry: Entry) -> Iterator[str]:
    """The text of the item, what stands below it, and where it stands."""
    yield entry.text
    while entry.item.body and not entry.item.body[-1]:
        entry.item.body.pop()
    if entry.item.body:
        margin = min((len(line) - len(line.lstrip()) for line in entry.item.body if line.strip()), default=0)
        yield ""
        yield from (line[margin:] for line in entry.item.body)
    above = [plain(split_id(item.text)[1]) for item in entry.item.above()]
    if entry.item.headings or above:
        yield f"\nPart of: {' > '.join((*entry.item.headings, *reversed(above)))}"


def title_in(text: str) -> str:
    """The text of an item as a title: without markup, and without what it depends on."""
    return _short(plain(_DEPENDS.sub("", text)) or plain(text))


def _short(text: str, limit: int = _LONGEST_TITLE) -> str:
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "\u2026"
