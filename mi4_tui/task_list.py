"""The order of the board: sorting, filtering, the cursor and the marks. Pure; knows rows and no widget.

The cursor belongs to a task, not to a line: rearranging says by how many lines it moved, so that the view can move with it and
nothing jumps under the user's hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from engine.events.projection import TaskRow

from .view_models import board_order, look, shown_state


@dataclass(frozen=True, slots=True)
class Filter:
    """What a row must have to be shown. All terms must fit; an empty filter shows everything."""

    text: str = ""
    """As the user wrote it."""
    words: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    workers: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.words or self.without or self.states or self.categories or self.workers)

    def fits(self, row: TaskRow) -> bool:
        """Whether the row is shown."""
        if self.states and not _state_fits(row, self.states):
            return False
        if self.categories and not any(row.category.casefold().startswith(name) for name in self.categories):
            return False
        if self.workers and row.worker.casefold() not in self.workers:
            return False
        if not (self.words or self.without):
            return True
        haystack = f"{row.id}\n{row.title}\n{row.category}\n{row.error}".casefold()
        return all(word in haystack for word in self.words) and not any(word in haystack for word in self.without)


def _state_fits(row: TaskRow, names: tuple[str, ...]) -> bool:
    mine = (row.state, shown_state(row), look(row).word.replace(" ", "_"))
    return any(state.startswith(name) for name in names for state in mine)


def parse_filter(text: str) -> Filter:
    """Terms separated by spaces: ``word``, ``!word``, ``status:failed,held``, ``cat:docs``, ``worker:3``; never fails."""
    found: dict[str, list[str]] = {"words": [], "without": [], "states": [], "categories": [], "workers": []}
    for term in text.casefold().split():
        name, colon, value = term.partition(":")
        field = {
            "status": "states",
            "state": "states",
            "cat": "categories",
            "category": "categories",
            "worker": "workers",
        }
        if colon and name in field:
            values = [part for part in value.split(",") if part]
            found[field[name]] += [f"w{part}" if name == "worker" and part.isdigit() else part for part in values]
        elif term.startswith("!"):
            found["without"] += [term[1:]] if len(term) > 1 else []
        else:
            found["words"].append(term)
    return Filter(text=text.strip(), **{name: tuple(values) for name, values in found.items()})


class TaskList:
    """Which tasks the board shows, in which order, and which of them the user means.

    Mutable state, owned by the board: `order` and `place` (rebuilt by `rearrange`), `cursor` and the id of its task, `marks`,
    `filter`. The rows are the projection's and only read.
    """

    def __init__(self, rows: Mapping[int, TaskRow]) -> None:
        self.rows = rows
        self.order: list[int] = []
        """Keys of the shown tasks, first to last."""
        self.place: dict[int, int] = {}
        """Index in `order` by key."""
        self.cursor: int | None = None
        """Key of the task that the user looks at; None only while nothing is shown."""
        self.marks: set[int] = set()
        self.filter = Filter()
        self.longest_id = 0
        """Characters of the longest shown id."""
        self._cursor_id = ""

    def rearrange(self) -> int:
        """Sort and filter again. Returns by how many lines the cursor's task moved down (negative: up); 0 if it left."""
        before = self.place.get(self.cursor, 0) if self.cursor is not None else 0
        shown = (
            [row for row in self.rows.values() if self.filter.fits(row)] if self.filter else list(self.rows.values())
        )
        shown.sort(key=board_order)
        self.order = [row.key for row in shown]
        self.place = {key: index for index, key in enumerate(self.order)}
        self.longest_id = max((len(row.id) for row in shown), default=0)
        self.marks &= self.rows.keys()
        if self.cursor is not None and self.cursor not in self.rows:
            self.cursor = next((row.key for row in shown if row.id == self._cursor_id), None)
        if self.cursor in self.place:
            self._remember()
            return self.place[self.cursor] - before
        self.cursor = self.order[min(before, len(self.order) - 1)] if self.order else None
        self._remember()
        return 0

    def _remember(self) -> None:
        """Note the id under the cursor: a task that is run again has a new key and the same id."""
        row = self.rows.get(self.cursor) if self.cursor is not None else None
        self._cursor_id = row.id if row is not None else ""

    def step(self, lines: int) -> None:
        """Move the cursor by so many lines, as far as there are any."""
        if self.order:
            index = self.place.get(self.cursor, 0) if self.cursor is not None else 0
            self.cursor = self.order[max(0, min(len(self.order) - 1, index + lines))]
            self._remember()

    def go(self, index: int) -> None:
        """Put the cursor on a line; negative counts from the end."""
        if self.order:
            index = index if index >= 0 else len(self.order) + index
            self.cursor = self.order[max(0, min(len(self.order) - 1, index))]
            self._remember()

    def toggle_mark(self) -> None:
        """Mark the task under the cursor, or take its mark away."""
        if self.cursor is not None:
            self.marks ^= {self.cursor}

    def toggle_all(self) -> None:
        """Mark all shown tasks, or none when all are marked."""
        shown = set(self.order)
        self.marks = self.marks - shown if shown <= self.marks else self.marks | shown

    def targets(self) -> list[TaskRow]:
        """The marked tasks in board order (also those that the filter hides), else the one under the cursor."""
        if self.marks:
            rows = [self.rows[key] for key in self.marks if key in self.rows]
            return sorted(rows, key=board_order)
        row = self.rows.get(self.cursor) if self.cursor is not None else None
        return [row] if row is not None else []

    @property
    def line(self) -> int:
        """Index of the cursor; 0 while nothing is shown."""
        return self.place.get(self.cursor, 0) if self.cursor is not None else 0
