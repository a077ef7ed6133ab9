"""A foreign backlog on its way to tasks: what waits for what, who is whose child, and what is left out with which reason.

Formats differ in how they write these things; what they mean is decided here, once. A parent waits for its children, and they start when
their parent could. A group is no work of its own: who waits for it waits for its children. Who waits for something that was given up is
held. Nothing here is strict: what cannot be understood is a warning, or leaves one record out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ..records import Records, show

MAX_EDGES = 1_000_000
"""Dependencies that a file may have after parents and groups are worked out."""
Place = Any
"""Where something stands: a line number, or whatever the reader can tell the line of."""


class Standing(StrEnum):
    """What becomes of a record."""

    OPEN = "open"
    HELD = "held"
    DONE = "done"
    LEFT_OUT = "left out"
    """It is no task, and what waits for it cannot go on by itself."""


@dataclass(slots=True)
class Draft:
    """One record while the file is read."""

    id: str
    place: Place
    fields: dict[str, Any]
    """Fields of a task file, without id, status and dependencies."""
    standing: Standing = Standing.OPEN
    why: str = ""
    """Why it is held or left out."""
    waits_for: dict[str, None] = field(default_factory=dict)
    parent: str = ""
    is_group: bool = False
    holds_children: bool = False
    """Whether what holds it holds its children, too."""


class Backlog:
    """Collects the records of one file. State: everything that was read so far."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.drafts: dict[str, Draft] = {}
        self.warnings: list[tuple[Place, str]] = []
        self.skipped: list[tuple[Place, str]] = []
        self._children: dict[str, list[Draft]] = {}
        self._spans: dict[str, tuple[int, int]] = {}
        """For each id, its place in a walk through the families, and that of the last one below it."""
        self._edges = 0

    def add(self, draft: Draft) -> None:
        """Take a record in; one whose id is taken is left out."""
        if draft.id in self.drafts:
            self.skip(draft.place, f"the id {show(draft.id)} stands twice; the first is kept")
        else:
            self.drafts[draft.id] = draft

    def skip(self, place: Place, reason: str) -> None:
        """Something is no task."""
        self.skipped.append((place, reason))

    def warn(self, place: Place, message: str) -> None:
        """Something was not understood as it may have been meant."""
        self.warnings.append((place, message))

    def records(self, line_of: Callable[[Place], int | None] = lambda place: place) -> Records:
        """All that was read, worked out; `line_of` tells where a place is."""
        self._find_children()
        self._pass_down()
        for draft in self.drafts.values():
            if draft.standing is not Standing.DONE:
                self._work_out(draft)
        kept = [draft for draft in self.drafts.values() if self._is_task(draft)]
        return Records(
            items=[_record(draft) for draft in kept],
            locate=lambda: [{"": line_of(draft.place) or 1} for draft in kept],
            format=self.name,
            foreign=True,
            warnings=[(line_of(place), message) for place, message in self.warnings],
            skipped=[(line_of(place), reason) for place, reason in self.skipped],
        )

    # Parents

    def _find_children(self) -> None:
        settled: set[str] = set()
        for draft in self.drafts.values():
            self._settle_parents(draft, settled)
        for draft in self.drafts.values():
            if draft.parent:
                self._children.setdefault(draft.parent, []).append(draft)

    def _settle_parents(self, draft: Draft, settled: set[str]) -> None:
        """Walk up from a record, and take out the parent that does not exist or leads back."""
        walk: dict[str, None] = {}
        while draft.id not in settled:
            walk[draft.id] = None
            if not draft.parent:
                break
            if draft.parent not in self.drafts:
                self.warn(draft.place, f"{show(draft.id)}: its parent {show(draft.parent)} is not in the file")
                draft.parent = ""
            elif draft.parent in walk:
                self.warn(draft.place, f"{show(draft.id)} is above and below {show(draft.parent)}; that is ignored")
                draft.parent = ""
            else:
                draft = self.drafts[draft.parent]
        settled.update(walk)

    def _number(self) -> None:
        """Fill the spans, without recursion."""
        todo: list[tuple[Draft, bool]] = [(draft, False) for draft in self.drafts.values() if not draft.parent]
        while todo:
            draft, leaving = todo.pop()
            if leaving:
                self._spans[draft.id] = (self._spans[draft.id][0], len(self._spans) - 1)
                continue
            self._spans[draft.id] = (len(self._spans), 0)
            todo.append((draft, True))
            todo += [(child, False) for child in self._children.get(draft.id, ())]

    def _is_below(self, name: str, parent: Draft) -> bool:
        """Whether `name` is `parent` or one below it."""
        first, last = self._spans[parent.id]
        return name in self._spans and first <= self._spans[name][0] <= last

    def _pass_down(self) -> None:
        """What a parent waits for, its children wait for; and a parent waits for its children."""
        self._number()
        todo = [draft for draft in self.drafts.values() if not draft.parent]
        while todo:
            parent = todo.pop()
            children = self._children.get(parent.id, ())
            if not children:
                continue
            passed = [name for name in parent.waits_for if not self._is_below(name, parent)]
            for child in children:
                self._inherit(parent, child, passed)
            if not parent.is_group:
                parent.waits_for |= dict.fromkeys(
                    child.id for child in children if child.standing is not Standing.LEFT_OUT
                )
            todo += children

    def _inherit(self, parent: Draft, child: Draft, passed: list[str]) -> None:
        if self._may_add(len(passed), child):
            child.waits_for |= dict.fromkeys(passed)
        if parent.holds_children and parent.standing is Standing.HELD and child.standing is Standing.OPEN:
            child.standing, child.holds_children = Standing.HELD, True
            self.warn(child.place, f"{show(child.id)} is held with its parent {show(parent.id)}")

    def _may_add(self, count: int, draft: Draft) -> bool:
        """Count dependencies that are about to be added; where they are too many the task is held, since it cannot wait for them."""
        if count and self._edges + count > MAX_EDGES:
            self._hold(draft, f"parents and groups make more than {MAX_EDGES:,} dependencies")
            return False
        self._edges += count
        return True

    # Dependencies

    def _work_out(self, draft: Draft) -> None:
        """Replace what is no task among the dependencies by what it means."""
        named = draft.waits_for
        draft.waits_for = {}
        for name in named:
            other = self.drafts.get(name)
            if name == draft.id:
                self.warn(draft.place, f"{show(draft.id)} depends on itself; that is ignored")
            elif other is None or self._is_task(other):
                draft.waits_for[name] = None
            elif other.standing is Standing.LEFT_OUT:
                self._hold(draft, f"it waits for {show(name)}, which is {other.why}")
            elif other.standing is not Standing.DONE:
                self._expand(draft, other)

    def _expand(self, draft: Draft, group: Draft) -> None:
        members = [child for child in self._members(group) if child is not draft]
        if not members:
            self._hold(draft, f"it waits for {show(group.id)}, which has no tasks yet")
        elif self._may_add(len(members), draft):
            draft.waits_for |= dict.fromkeys(member.id for member in members)

    def _members(self, group: Draft) -> list[Draft]:
        """The tasks directly in a group, or in the groups in it."""
        found: list[Draft] = []
        todo = [group]
        while todo:
            for child in self._children.get(todo.pop().id, ()):
                if child.is_group and child.standing is not Standing.DONE:
                    todo.append(child)
                elif self._is_task(child):
                    found.append(child)
        return found

    def _hold(self, draft: Draft, why: str) -> None:
        if draft.standing is Standing.OPEN and not draft.is_group:
            draft.standing = Standing.HELD
            self.warn(draft.place, f"{show(draft.id)} is held: {why}")

    def _is_task(self, draft: Draft) -> bool:
        return not draft.is_group and draft.standing is not Standing.LEFT_OUT


def _record(draft: Draft) -> dict[str, Any]:
    record = {"id": draft.id, **draft.fields, "status": draft.standing.value}
    if draft.waits_for:
        record["dependencies"] = [*draft.waits_for]
    return record
