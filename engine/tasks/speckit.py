"""``tasks.md`` of spec-kit: a checklist whose order means something.

``- [ ] T012 [P] [US1] text``: phases run one after the other; in a phase, a task without ``[P]`` runs after all before it, one with ``[P]`` when
the phase begins. ``[US1]`` groups. ``(depends on T012, T013)`` adds to that. What is done no longer has a place in the order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .checklist import Entry, entries_of, title_in
from .markdown_text import Outline
from .records import Records

_NUMBERED = re.compile(r"(?:\*\*)?T[0-9]{3,9}\b")
_MARKED = re.compile(r"(?:\*\*)?T[0-9]{3,9}(?:\*\*)?:?\s+\[(?:P|US[0-9]+)\]")
_PHASE = re.compile(r"phase\b", re.IGNORECASE)
_MARKER = re.compile(r"\[(P|US[0-9]{1,6})\]\s*")
MAX_EDGES = 10_000
"""Dependencies that the border between two phases may make; beyond that the first task of the later phase stands for the border."""


def is_speckit(outline: Outline) -> bool:
    """Whether the items are numbered and marked, or numbered and in phases, as spec-kit writes them."""
    numbered = [item for item in outline.items if _NUMBERED.match(item.text)]
    if not numbered:
        return False
    if any(_MARKED.match(item.text) for item in numbered):
        return True
    return any(_PHASE.match(title) for item in numbered for title in item.headings)


def records_of_speckit(outline: Outline) -> Records:
    """The tasks that the items of a document are, in the order of its phases."""
    records = Records(faults=outline.faults, warnings=outline.warnings, skipped=outline.skipped)
    entries = entries_of(outline, records)
    _order(entries, records)
    for entry in entries:
        if entry.dependencies:
            entry.record["dependencies"] = [*entry.dependencies]
        records.items.append(entry.record)
    records.locate = lambda: [{"": entry.item.line} for entry in entries]
    return records


def _order(entries: list[Entry], records: Records) -> None:
    """Add what follows from phases and markers to the dependencies."""
    parents = {id(entry.item.parent) for entry in entries if entry.item.parent}
    gate: list[str] = []
    for phase in _phases(entries):
        roots, last = _order_phase(phase)
        if gate and roots:
            leaves = [entry for entry in roots if id(entry.item) not in parents]
            _close_border(gate, roots, next((entry for entry in leaves if not entry.dependencies), leaves[0]), records)
        gate = last or gate


def _order_phase(phase: list[Entry]) -> tuple[list[Entry], list[str]]:
    """Put the open tasks of a phase into their order; what may begin with it, and the ids that it ends with."""
    roots: list[Entry] = []
    last: list[str] = []
    before: dict[int, list[str]] = {}
    for entry in phase:
        parallel = _read_markers(entry)
        if not entry.waits:
            continue
        if entry.item.parent is not None:
            mine = before.get(id(entry.item.parent), [])
        else:
            mine = [] if parallel else last
            if not parallel:
                last = []
            last.append(entry.id)
        before[id(entry.item)] = mine
        entry.dependencies |= dict.fromkeys(mine)
        if not mine:
            roots.append(entry)
    return roots, last


def _phases(entries: list[Entry]) -> Iterator[list[Entry]]:
    """Items that follow each other below the same phase heading: the last that says so, else that of the second level."""
    phase: list[Entry] = []
    name: tuple[str, ...] | None = None
    for entry in entries:
        headings = entry.item.headings
        cut = next((n for n, title in enumerate(headings, 1) if _PHASE.match(title)), min(2, len(headings)))
        if headings[:cut] != name and phase:
            yield phase
            phase = []
        name = headings[:cut]
        phase.append(entry)
    if phase:
        yield phase


def _read_markers(entry: Entry) -> bool:
    """Take the markers off the text; whether ``[P]`` was among them."""
    text, parallel, story = entry.text, False, ""
    while match := _MARKER.match(text):
        text = text[match.end() :]
        if match[1] == "P":
            parallel = True
        else:
            story = match[1]
    if text and text != entry.text:
        entry.record["description"] = text + entry.record["description"][len(entry.text) :]
        entry.record["title"] = title_in(text)
        if story:
            entry.record["category"] = story
            entry.record["tags"] = [story]
    return parallel


def _close_border(gate: list[str], roots: list[Entry], first: Entry, records: Records) -> None:
    """What begins a phase waits for what ends the one before; where that is too much, `first` does, and the others for it."""
    after = dict.fromkeys(gate)
    many = len(gate) * len(roots) > MAX_EDGES
    for entry in roots:
        if many and entry is not first:
            entry.dependencies[first.id] = None
        else:
            entry.dependencies |= after
    if many:
        message = f"{len(roots):,} tasks follow {len(gate):,}: to keep the graph small, the others of the phase wait for {first.id}"
        records.warnings.append((first.item.line, message))
