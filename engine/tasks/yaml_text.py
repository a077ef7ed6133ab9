"""YAML, strictly and safely, built from the parser's events.

What is plain is read line by line (`engine.tasks.yaml_lines`), the rest from the parser's events. Building from events (not from PyYAML's
constructors) keeps nesting and aliases under control, finds keys that stand twice, knows the lines, and is twice as fast. Plain scalars follow YAML 1.2: only ``true`` and ``false`` are truth values, so ``title: no`` is a text,
and numbers are decimal, so ``007`` is a text.
"""

from __future__ import annotations

import re
from typing import Any, NoReturn

import yaml

from .records import MAX_DEPTH, UNUSABLE, Places, Records, records_of, show
from .yaml_lines import plain_value, read_lines

MAX_EXPANDED = 1_000_000
"""Values that all aliases of a file may stand for together."""
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NOT_PRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]")
_CORE = "tag:yaml.org,2002:"
_SCALAR_TAGS = {_CORE + name for name in ("int", "float", "bool", "null")}


class _StopError(Exception):
    """The rest of the document cannot be read."""


class _Frame:
    """A list or table that is open."""

    __slots__ = ("anchor", "holds_records", "is_map", "key", "merges", "place", "size", "value")

    def __init__(self, value: Any, anchor: str | None, place: dict[str, int] | None, *, holds_records: bool) -> None:
        self.value = value
        self.holds_records = holds_records
        self.is_map = isinstance(value, dict)
        self.anchor = anchor
        self.key: str | None = None
        self.size = 1
        self.merges: list[dict[str, Any]] = []
        self.place = place


class _Builder:
    """Builds one document. State: the open lists and tables, and the anchors seen so far."""

    def __init__(self, depth: int = 0) -> None:
        self._depth = depth
        """Levels that are open around what is built."""
        self.root: Any = None
        self.faults: list[tuple[int | None, str]] = []
        self.places: Places = []
        self._stack: list[_Frame] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._expanded = 0
        self._documents = 0

    def run(self, text: str) -> None:
        """Digest all events; what is wrong goes to `faults`."""
        steps = {
            yaml.ScalarEvent: self._scalar,
            yaml.MappingStartEvent: self._start,
            yaml.SequenceStartEvent: self._start,
            yaml.MappingEndEvent: self._end,
            yaml.SequenceEndEvent: self._end,
            yaml.AliasEvent: self._alias,
            yaml.DocumentStartEvent: self._document,
        }
        try:
            loader = _LOADER(text)
            try:
                take = loader.get_event
                # Asking for each event without a look ahead takes a quarter off `yaml.parse`.
                while (kind := type(event := take())) is not yaml.StreamEndEvent:
                    if kind in steps:
                        steps[kind](event)
            finally:
                loader.dispose()
        except _StopError:
            return
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            problem = error.problem or error.context or "unreadable"
            self.faults.append((mark.line + 1 if mark else None, f"not valid YAML: {problem}"))
        except yaml.YAMLError as error:
            self.faults.append((None, f"not valid YAML: {str(error).splitlines()[0]}"))

    @property
    def has_anchors(self) -> bool:
        """Whether a value has a name that others can refer to."""
        return bool(self._anchors)

    def _stop(self, event: Any, message: str) -> NoReturn:
        self.faults.append((event.start_mark.line + 1, message))
        raise _StopError

    def _document(self, event: Any) -> None:
        self._documents += 1
        if self._documents > 1:
            self._stop(event, "a second document begins here; put all tasks into one list")

    def _scalar(self, event: Any) -> None:
        text = event.value
        if self._stack:
            frame = self._stack[-1]
            if frame.is_map and frame.key is None:
                self._key(frame, text, event)
                return
        value = text
        if event.implicit[0]:
            value = self._resolve(text, event)
        elif event.tag and event.tag not in ("!", _CORE + "str"):
            if event.tag not in _SCALAR_TAGS:
                self._stop(event, f"the tag {show(event.tag)} is not allowed; write plain values")
            value = self._resolve(text, event)
        if event.anchor:
            self._anchors[event.anchor] = (value, 1)
        self._add(value, 1, event)

    def _key(self, frame: _Frame, text: str, event: Any) -> None:
        if text in frame.value and text != "<<":
            self.faults.append((event.start_mark.line + 1, f"the key {show(text)} stands twice in one table"))
        frame.key = text
        if event.anchor:
            self._anchors[event.anchor] = (text, 1)
        if frame.place is not None:
            frame.place[text] = event.start_mark.line + 1

    def _resolve(self, text: str, event: Any) -> Any:
        try:
            return plain_value(text)
        except ValueError as error:
            self.faults.append((event.start_mark.line + 1, f"the number {show(text)} {error}"))
            return UNUSABLE

    def _start(self, event: Any) -> None:
        if len(self._stack) + self._depth >= MAX_DEPTH:
            self._stop(event, f"nested deeper than {MAX_DEPTH} levels")
        if self._stack and self._stack[-1].is_map and self._stack[-1].key is None:
            self._stop(event, "a key must be a text, not a list or table")
        is_map = isinstance(event, yaml.MappingStartEvent)
        if event.tag and event.tag not in ("!", _CORE + ("map" if is_map else "seq")):
            self._stop(event, f"the tag {show(event.tag)} is not allowed; write plain values")
        parent = self._stack[-1] if self._stack else None
        place = {"": event.start_mark.line + 1} if is_map and parent and parent.holds_records else None
        under_tasks = len(self._stack) == 1 and parent is not None and parent.key == "tasks"
        holds_records = not is_map and (parent is None or under_tasks)
        self._stack.append(_Frame({} if is_map else [], event.anchor, place, holds_records=holds_records))

    def _end(self, event: Any) -> None:
        frame = self._stack.pop()
        value = frame.value
        for merged in frame.merges:
            for key, inherited in merged.items():
                value.setdefault(key, inherited)
        if frame.anchor:
            self._anchors[frame.anchor] = (value, frame.size)
        self._add(value, frame.size, event, frame.place)

    def _alias(self, event: Any) -> None:
        if event.anchor not in self._anchors:
            self._stop(event, f"the alias *{event.anchor[:40]} stands for nothing that is complete before it")
        value, size = self._anchors[event.anchor]
        self._expanded += size
        if self._expanded > MAX_EXPANDED:
            self._stop(event, f"aliases stand for more than {MAX_EXPANDED:,} values")
        frame = self._stack[-1] if self._stack else None
        if frame and frame.is_map and frame.key is None:
            if not isinstance(value, str):
                self._stop(event, "a key must be a text")
            frame.key = value
            return
        self._add(value, size, event)

    def _add(self, value: Any, size: int, event: Any, place: dict[str, int] | None = None) -> None:
        """Put a complete value where it belongs."""
        if not self._stack:
            self.root = value
            return
        frame = self._stack[-1]
        if frame.holds_records:
            self.places.append(place or {"": event.start_mark.line + 1})
        frame.size += size
        if not frame.is_map:
            frame.value.append(value)
            return
        if frame.key == "<<":
            self._merge(frame, value, event)
        else:
            frame.value[frame.key] = value
        frame.key = None

    def _merge(self, frame: _Frame, value: Any, event: Any) -> None:
        sources = value if isinstance(value, list) else [value]
        if not all(isinstance(source, dict) for source in sources):
            self._stop(event, "<< needs a table, or a list of tables")
        frame.merges += sources


def read_yaml(text: str) -> Records:
    """All tasks of a YAML document."""
    strange = _NOT_PRINTABLE.search(text)
    if strange:
        line = text.count("\n", 0, strange.start()) + 1
        return Records(faults=[(line, f"not valid YAML: the control character {strange[0]!r} must be escaped")])
    items = read_lines(text, _read_part)
    if items is not None:
        return Records(items, locate=lambda: _built(text).places)
    builder = _built(text)
    if builder.faults and builder.root is None:
        return Records(faults=builder.faults)
    items, wrong = records_of(builder.root)
    return Records(items, ([(1, wrong)] if wrong else []) + builder.faults, lambda: builder.places)


def _built(text: str, depth: int = 0) -> _Builder:
    builder = _Builder(depth)
    builder.run(text)
    return builder


def _read_part(text: str, depth: int) -> list[Any] | None:
    """The records of a part of a document; None where the whole decides: for faults, and for anchors, which reach across parts."""
    builder = _built(text, depth)
    if builder.faults or builder.has_anchors or not isinstance(builder.root, list):
        return None
    return builder.root
