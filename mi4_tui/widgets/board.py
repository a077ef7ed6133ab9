"""The task board: a line-API widget that draws only the lines in view, whatever the number of tasks.

The cursor belongs to a task. When the order changes, the view moves with the cursor's task, so nothing jumps under the hand; only
while nobody has touched the board does the view stay at the top.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from engine.events.projection import TaskRow

from ..formatting import count, fit, fit_right, plain
from ..task_list import Filter, TaskList
from ..view_models import (
    Columns,
    columns_for,
    detail,
    empty_state,
    look,
    priority_letter,
    score_now,
    task_title,
    time_shown,
)
from .lines import ROLE_CLASSES


class Board(ScrollView, can_focus=True, inherit_bindings=False):
    """The list of tasks.

    Mutable state, owned here: `tasks` (order, cursor, marks), `pending` (ids whose change the engine has not confirmed, with the
    priority asked for), `touched` (whether the user has moved the cursor).
    """

    COMPONENT_CLASSES = ROLE_CLASSES | {"board--cursor"}

    class CursorMoved(Message):
        """The cursor is on another task."""

        def __init__(self, key: int | None) -> None:
            self.key = key
            super().__init__()

    class Opened(Message):
        """The task under the cursor was clicked twice."""

    def __init__(self, *, id: str | None = None, ascii_only: bool = False) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self.tasks = TaskList({})
        self.pending: dict[str, float | None] = {}
        self.touched = False
        self._ascii = ascii_only
        self._now = 0.0
        self._columns = columns_for(80, 3)

    # What the screen tells it.

    def show_rows(self, rows: Mapping[int, TaskRow], now: float) -> None:
        """Sort and filter again and draw everything; `now` is the engine's clock."""
        self._now = now
        self.tasks.rows = rows
        had = self.tasks.cursor
        shift = self.tasks.rearrange()
        self._fit_columns()
        size = Size(1, len(self.tasks.order))
        if size != self.virtual_size:
            self.virtual_size = size
        if self.touched and shift:
            self.scroll_to(y=self.scroll_offset.y + shift, animate=False)
        self._announce(had)
        self._show_titles()
        self.refresh()

    def show_changes(self, rows: Mapping[int, TaskRow], keys: Iterable[int], now: float) -> None:
        """Draw these tasks again where they stand."""
        self._now = now
        self.tasks.rows = rows
        first, last = self._lines_in_view()
        places = (self.tasks.place.get(key) for key in keys)
        for place in places:
            if place is not None and first <= place < last:
                self.refresh_line(place)

    def show_times(self, now: float) -> None:
        """Draw the tasks in view whose time or countdown runs."""
        self._now = now
        first, last = self._lines_in_view()
        for place in range(first, min(last, len(self.tasks.order))):
            row = self.tasks.rows.get(self.tasks.order[place])
            if row is not None and row.state in ("running", "cancelling", "queued", "backoff"):
                self.refresh_line(place)

    def show_filter(self, wanted: Filter) -> None:
        """Show only what fits, from now on."""
        self.tasks.filter = wanted
        self.show_rows(self.tasks.rows, self._now)
        self._keep_in_view()

    def show_pending(self, ids: Mapping[str, float | None]) -> None:
        """Mark these ids as changed but not confirmed."""
        self.pending = dict(ids)
        self.refresh()

    # The cursor.

    @property
    def row(self) -> TaskRow | None:
        """The task under the cursor."""
        return self.tasks.rows.get(self.tasks.cursor) if self.tasks.cursor is not None else None

    def cursor_in_view(self) -> bool:
        """Whether the user can see what the cursor is on."""
        first, last = self._lines_in_view()
        return first <= self.tasks.line < last

    def reveal(self) -> bool:
        """Bring the cursor into view. Returns whether it had been there already (else an action must not run blindly)."""
        if self.cursor_in_view():
            return True
        self.touched = True
        self._keep_in_view()
        self.refresh()
        return False

    def move_cursor(self, lines: int) -> None:
        """Move by so many lines; a cursor out of view comes to the edge of the view first."""
        had, old = self.tasks.cursor, self.tasks.line
        self.touched = True
        if self.cursor_in_view():
            self.tasks.step(lines)
        else:
            first, last = self._lines_in_view()
            self.tasks.go(first if lines > 0 else min(last, len(self.tasks.order)) - 1)
        self._after_move(had, old)

    def move_page(self, pages: int) -> None:
        """Move by whole views."""
        self.move_cursor(pages * max(1, self._height - 1))

    def move_to(self, index: int) -> None:
        """Put the cursor on a line (negative from the end). The first line also means: stay at the top."""
        had, old = self.tasks.cursor, self.tasks.line
        self.tasks.go(index)
        self.touched = index != 0
        self._after_move(had, old)

    def toggle_mark(self) -> None:
        """Mark the task under the cursor and go on to the next."""
        self.tasks.toggle_mark()
        self._show_titles()
        self.move_cursor(1)

    def toggle_all(self) -> None:
        """Mark all tasks shown, or none."""
        self.tasks.toggle_all()
        self._show_titles()
        self.refresh()

    def clear_marks(self) -> bool:
        """Take all marks away. Returns whether there were any."""
        had = bool(self.tasks.marks)
        self.tasks.marks.clear()
        self._show_titles()
        self.refresh()
        return had

    def _after_move(self, had: int | None, old_line: int) -> None:
        self._keep_in_view()
        self.refresh_line(old_line)
        self.refresh_line(self.tasks.line)
        self._show_titles()
        self._announce(had)

    def _announce(self, had: int | None) -> None:
        if self.tasks.cursor != had:
            self.post_message(self.CursorMoved(self.tasks.cursor))

    # Geometry.

    @property
    def _height(self) -> int:
        return self.scrollable_content_region.height

    def _lines_in_view(self) -> tuple[int, int]:
        top = self.scroll_offset.y
        return top, top + self._height

    def _keep_in_view(self) -> None:
        line, top, height = self.tasks.line, self.scroll_offset.y, self._height
        if line < top:
            self.scroll_to(y=line, animate=False)
        elif height and line >= top + height:
            self.scroll_to(y=line - height + 1, animate=False)

    def _fit_columns(self) -> None:
        self._columns = columns_for(self.scrollable_content_region.width, self.tasks.longest_id)

    def _show_titles(self) -> None:
        marks = f"  {count(len(self.tasks.marks))} marked" if self.tasks.marks else ""
        shown, total = len(self.tasks.order), len(self.tasks.rows)
        number = count(total) if shown == total else f"{count(shown)} of {count(total)}"
        filtered = f"  filter: {plain(self.tasks.filter.text)}" if self.tasks.filter else ""
        self.border_title = Content(f"1 Tasks {number}{filtered}{marks}")
        first, last = self._lines_in_view()
        self.border_subtitle = Content(
            f"{count(first + 1)}-{count(min(last, shown))} of {count(shown)}" if shown else ""
        )

    # Events.

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Say which lines are in view."""
        super().watch_scroll_y(old_value, new_value)
        self._show_titles()

    def on_resize(self, event: events.Resize) -> None:  # noqa: ARG002 - Textual's form
        """Share the width again, and keep a cursor that was in use in view."""
        self._fit_columns()
        if self.touched:
            self._keep_in_view()
        self._show_titles()

    def on_click(self, event: events.Click) -> None:
        """A click moves the cursor; two open the log."""
        line = event.get_content_offset(self)
        if line is None or not self.tasks.order:
            return
        index = line.y + self.scroll_offset.y
        if index < len(self.tasks.order):
            had, old = self.tasks.cursor, self.tasks.line
            self.tasks.go(index)
            self.touched = True
            self._after_move(had, old)
            if event.chain == 2:
                self.post_message(self.Opened())

    # Drawing.

    def render_line(self, y: int) -> Strip:
        """The line at `y` of the view."""
        width = self.scrollable_content_region.width
        index = y + self.scroll_offset.y
        if index < len(self.tasks.order):
            row = self.tasks.rows.get(self.tasks.order[index])
            if row is not None:
                return self._row_strip(row, width)
        elif not self.tasks.order:
            return self._empty_strip(y, width)
        return Strip.blank(width, self.rich_style)

    def _empty_strip(self, y: int, width: int) -> Strip:
        lines = empty_state(len(self.tasks.rows), self.tasks.filter.text if self.tasks.filter else "")
        text = lines[y - 1] if 1 <= y <= len(lines) else ""
        style = self.get_component_rich_style("role--plain" if y == 1 else "role--muted")
        return Strip([Segment(fit(f"  {text}", width, ascii_only=self._ascii), style)], width)

    def _style(self, role: str, *, cursor: bool) -> Style:
        names = (f"role--{role}", "board--cursor") if cursor else (f"role--{role}",)
        return self.get_component_rich_style(*names)

    def _row_strip(self, row: TaskRow, width: int) -> Strip:
        cursor = row.key == self.tasks.cursor
        columns, shape = self._columns, look(row)
        glyph = shape.letter if self._ascii else shape.glyph
        lead, role = self._lead(row, cursor=cursor)
        quiet = "muted" if shape.rank >= 8 else "plain"
        cells = [
            (lead, role),
            (fit(f"{glyph} {shape.word}", columns.state), shape.role),
            (
                fit_right(
                    fit(plain(row.id), min(columns.id, max(1, len(row.id))), ascii_only=self._ascii).strip(), columns.id
                ),
                "muted",
            ),
            ("  ", "plain"),
            *self._middle_cells(row, columns, quiet),
            *self._right_cells(row, columns),
        ]
        segments = [Segment(text, self._style(name, cursor=cursor)) for text, name in cells if text]
        return Strip(segments).adjust_cell_length(width, self._style("plain", cursor=cursor))

    def _lead(self, row: TaskRow, *, cursor: bool) -> tuple[str, str]:
        """Bar, mark, priority, pending mark: five cells."""
        bar = ("|" if self._ascii else "▌") if cursor else " "
        mark = "*" if row.key in self.tasks.marks else " "
        waiting = row.id in self.pending
        asked = self.pending.get(row.id)
        letter = priority_letter(row.priority if asked is None else asked)
        return f"{bar}{mark}{letter}{'~' if waiting else ' '} ", "warning" if waiting or mark == "*" else "plain"

    def _middle_cells(self, row: TaskRow, columns: Columns, quiet: str) -> list[tuple[str, str]]:
        """Title and detail; a title may use the room of a detail that is empty."""
        told = detail(row, self._now) if columns.detail else ""
        if not told:
            width = columns.title + (columns.detail + 1 if columns.detail else 0)
            return [(fit(task_title(row), width, ascii_only=self._ascii), quiet)]
        shape = look(row)
        role = shape.role if shape.role in ("error", "warning") else "muted"
        return [
            (fit(task_title(row), columns.title, ascii_only=self._ascii), quiet),
            (f" {fit(told, columns.detail, ascii_only=self._ascii)}", role),
        ]

    def _right_cells(self, row: TaskRow, columns: Columns) -> list[tuple[str, str]]:
        score = (
            f"{score_now(row, self._now):.0f}"
            if columns.score and row.state in ("queued", "pending", "backoff", "held")
            else ""
        )
        ascii_only = self._ascii
        return [
            (
                f" {fit(plain(row.category), columns.category - 1, ascii_only=ascii_only)}" if columns.category else "",
                "muted",
            ),
            (f" {fit(plain(row.worker), columns.worker - 1)}" if columns.worker else "", "muted"),
            (fit_right(score, columns.score) if columns.score else "", "muted"),
            (f"{fit_right(time_shown(row, self._now), columns.time)} ", "plain"),
        ]
