"""The whole output of one task, read from its log file by pages while the user scrolls; follows what is still being written."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.geometry import Size
from textual.screen import Screen
from textual.scroll_view import ScrollView
from textual.strip import Strip

from engine.events.projection import TaskRow
from engine.session import FindLog, Reply

from ..formatting import count, fit, plain, size
from ..keymap import bindings, hints
from ..log_file import LogFile
from ..view_models import Piece, look, task_title
from ..widgets.hints import Hints
from ..widgets.lines import ROLE_CLASSES, Lines, strip_of

if TYPE_CHECKING:
    from ..app import Mi4App

PAGES_A_STEP = 256
"""Pages (16 MiB) that are indexed in one go in a thread before the screen is drawn again."""
FOLLOW_SECONDS = 0.5


class LogView(ScrollView, can_focus=True, inherit_bindings=False):
    """Draws the lines in view of a `LogFile`. State: the file, how far to the right, and what to say without lines."""

    COMPONENT_CLASSES = ROLE_CLASSES

    def __init__(self, *, id: str | None = None, ascii_only: bool = False) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self.log_file: LogFile | None = None
        self.note = "asking the engine where the output is"
        self.left = 0
        self._ascii = ascii_only

    def grown(self) -> None:
        """The file has more lines, or is another one."""
        self.virtual_size = Size(1, self.log_file.lines if self.log_file is not None else 1)
        self.refresh()

    def line_text(self, y: int) -> str:
        """What stands at `y` of the view: line number and text, uncut."""
        number = y + self.scroll_offset.y
        if self.log_file is None or not self.log_file.lines:
            return self.note if y == 0 else ""
        if number >= self.log_file.lines:
            return ""
        digits = len(str(self.log_file.lines))
        return f"{number + 1:>{digits}} {self.log_file.line(number)[self.left :]}"

    def render_line(self, y: int) -> Strip:
        """One line of the view."""
        width = self.scrollable_content_region.width
        return strip_of(self, [Piece(fit(self.line_text(y), width, ascii_only=self._ascii))], width)


class LogScreen(Screen[None]):
    """The log of one task.

    Mutable state, owned here: the open file, whether the end is followed, whether indexing is under way, how many bytes an output
    without a file had.
    """

    SCOPE = "log"
    CSS_PATH = "log.tcss"
    BINDINGS: ClassVar[list[BindingType]] = list(bindings("log"))

    def __init__(self, row: TaskRow, app: Mi4App) -> None:
        super().__init__()
        self._key = row.key
        self._row = row
        self._shared = app
        self._following = True
        self._busy = False
        self._inline: bytes | None = None
        self._path: Path | None = None
        self._title = Lines(id="log-title", gap="  ")
        self.view = LogView(id="log-view", ascii_only=app.ascii_only)
        """The lines."""

    def compose(self) -> ComposeResult:
        """A line about the task, the log, and the hints."""
        yield self._title
        yield self.view
        yield Hints(hints("log", self._shared.key_overrides), id="log-hints")

    def on_mount(self) -> None:
        """Find the log and begin."""
        self.view.focus()
        self._show_title()
        self.set_interval(FOLLOW_SECONDS, self._look_again)
        self.call_after_refresh(self._look_again)

    def on_unmount(self) -> None:
        """Let go of the file."""
        if self.view.log_file is not None and not self._busy:
            self.view.log_file.close()

    # Finding and reading.

    def _look_again(self) -> None:
        """Twice a second: what was appended, or a log that was not there before."""
        if self._busy or not self.is_mounted:
            return
        self._busy = True
        self.run_worker(self._read(), group="log")

    async def _read(self) -> None:
        try:
            if self._path is None:
                await self._find()
            while await self._extend():
                self._show()
        except OSError as error:
            self.view.note = f"the log cannot be read: {plain(str(error.strerror or error))}"
            self.view.grown()
        finally:
            self._busy = False
        if self.is_mounted:
            self._show_title()

    async def _find(self) -> None:
        reply = await self._shared.orders.ask(FindLog(id=self._row.id))
        if not self.is_mounted:
            return
        if not reply.ok:
            self._say(plain(reply.message))
        elif path := str(reply.data.get("path") or ""):
            self._path = self._shared.log_path(path)
            self._open(self._path)
        else:
            self._take_inline(reply)

    def _take_inline(self, reply: Reply) -> None:
        """Output without a file: what the reply holds, else what the worker shows of it so far."""
        output = bytes(reply.data.get("output") or b"") or self._live_tail()
        if output and output != self._inline:
            self._open(output)
            self._inline = output
        elif not output:
            self._say("nothing was printed" if self.row.finished_at else "nothing printed yet")

    def _live_tail(self) -> bytes:
        for slot in self._shared.session.projection.workers.values():
            if slot.task_key == self._key and slot.summary is not None:
                return "\n".join(slot.summary.tail).encode("utf-8", errors="replace")
        return b""

    def _open(self, source: Path | bytes) -> None:
        if self.view.log_file is not None:
            self.view.log_file.close()
        self.view.log_file = LogFile(source)

    async def _extend(self) -> bool:
        log_file = self.view.log_file
        return log_file is not None and await asyncio.to_thread(log_file.extend, PAGES_A_STEP) and self.is_mounted

    # Showing.

    @property
    def row(self) -> TaskRow:
        """The task as it stands now."""
        self._row = self._shared.session.projection.rows.get(self._key, self._row)
        return self._row

    def _say(self, note: str) -> None:
        self.view.note = note
        self.view.grown()

    def _show(self) -> None:
        self.view.grown()
        if self._following:
            self.call_after_refresh(self._to_end)
        self._show_title()

    def _to_end(self) -> None:
        self.view.scroll_to(y=self.view.max_scroll_y, animate=False)

    def _show_title(self) -> None:
        row, log_file = self.row, self.view.log_file
        shape = look(row)
        glyph = shape.letter if self._shared.ascii_only else shape.glyph
        pieces = [
            Piece(f" {glyph} {shape.word}", shape.role, bold=True),
            Piece(f"{plain(row.id)} {task_title(row)}", bold=True),
        ]
        if log_file is not None:
            pieces.append(Piece(f"{count(log_file.lines)} lines  {size(log_file.bytes)}", "muted"))
        if self._following and not row.finished_at:
            pieces.append(Piece("following", "accent"))
        self._title.show(pieces)

    # Keys.

    def action_scroll(self, lines: int) -> None:
        """``j`` and ``k``."""
        self._go(self.view.scroll_offset.y + lines)

    def action_page(self, pages: int) -> None:
        """PgUp and PgDn."""
        self._go(self.view.scroll_offset.y + pages * max(1, self.view.size.height - 1))

    def action_first(self) -> None:
        """``g``."""
        self._go(0)

    def action_last(self) -> None:
        """``G``: to the end, and stay there."""
        self._following = True
        self._to_end()
        self._show_title()

    def action_follow(self) -> None:
        """``f``."""
        self._following = not self._following
        if self._following:
            self._to_end()
        self._show_title()

    def action_sideways(self, cells: int) -> None:
        """Left and right in long lines."""
        self.view.left = max(0, self.view.left + cells)
        self.view.refresh()

    def _go(self, y: int) -> None:
        self._following = False
        self.view.scroll_to(y=y, animate=False)
        self._show_title()

    def action_back(self) -> None:
        """To the board."""
        self.dismiss()

    async def on_hints_chosen(self, event: Hints.Chosen) -> None:
        """A hint was clicked."""
        await self.run_action(event.action)
