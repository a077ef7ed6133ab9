"""The main screen: the board, the worker panes, the metrics line and the bottleneck panel.

It reads the session's projection and draws what a `ViewChanged` says has changed. Its layout is its style sheet's, by the
breakpoints of the app.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.content import Content
from textual.widgets import Input

from engine.events.events import ViewChanged
from engine.session import View

from ..formatting import fit, join_fitting, wrap, wrap_parts
from ..keymap import bindings, hints
from ..run_models import (
    advice,
    counters,
    finished_line,
    metric_parts,
    pane,
    run_note,
    spark,
    time_left,
)
from ..task_list import parse_filter
from ..view_models import Piece
from ..widgets.board import Board
from ..widgets.hints import Hints
from ..widgets.lines import Lines
from ..widgets.tail import Tail
from .task_actions import TaskActions

if TYPE_CHECKING:
    from ..app import Mi4App

PANES = 4
"""Worker panes on this screen; the workers screen has all."""
RESORT_SECONDS = 1.0
"""The board is sorted again at most this often by itself."""
HISTORY = 120
"""Measurements that the throughput curve remembers."""
PANELS = ("board", "pane-0", "pane-1", "pane-2", "pane-3", "advice")


class FocusLines(Lines, can_focus=True):
    """Lines in a panel of its own that can have the focus."""


class MainScreen(TaskActions):
    """The screen that the app starts with.

    Mutable state, owned here: when the board was sorted and whether it must be, since when the engine is lost, the history of the
    throughput.
    """

    SCOPE = "main"
    BINDINGS: ClassVar[list[BindingType]] = list(bindings("main"))

    def __init__(self, app: Mi4App) -> None:
        super().__init__()
        self._shared = app
        self._ascii = app.ascii_only
        self._sorted_at = 0.0
        self._sort_due = True
        self._lost_at: float | None = None
        self._throughput: deque[float] = deque(maxlen=HISTORY)
        self._measured: dict[str, Any] | None = None
        self._board = Board(id="board", ascii_only=self._ascii)
        self._panes = [Tail(id=f"pane-{index}", ascii_only=self._ascii) for index in range(PANES)]
        self._counters = Lines(id="counters", gap="  ")
        self._banner = Lines(id="banner")
        self._metrics = Lines(id="metrics")
        self._advice = FocusLines(id="advice")
        self._too_small = Lines(id="too-small")
        self._filter = Input(id="filter", placeholder="text  status:failed  cat:docs  worker:2  !not", compact=True)

    # Parts.

    def compose(self) -> ComposeResult:
        """The parts; the style sheet places them."""
        yield self._counters
        yield self._banner
        with Container(id="body"):
            yield self._board
            with Container(id="side"):
                with Container(id="panes"):
                    yield from self._panes
                yield self._metrics
                yield self._advice
        yield self._filter
        yield Hints(hints("main", self._shared.key_overrides), id="hints")
        yield self._too_small

    def on_mount(self) -> None:
        """Draw what is known already."""
        self.board.focus()
        self._metrics.border_title = Content("Throughput")
        self.set_interval(1.0, self._every_second)
        self.call_after_refresh(self.draw_all)

    @property
    def board(self) -> Board:
        """The list of tasks."""
        return self._board

    # Drawing.

    def draw_all(self) -> None:
        """Draw everything from the projection."""
        self.draw(ViewChanged(everything=True, parts=("rows", "counts", "workers", "metrics", "findings", "run")))

    def draw(self, change: ViewChanged) -> None:
        """Draw what has changed; nothing at all while the screen is not there."""
        if not self.is_mounted or not self.is_running:
            return
        parts = set(change.parts)
        if change.everything or "rows" in parts:
            self._draw_rows(change)
        if change.everything or parts & {"counts", "rows", "metrics"}:
            self._draw_counters()
        if change.everything or parts & {"run", "connection", "counts"}:
            self._draw_banner()
        if change.everything or parts & {"workers", "rows"}:
            self._draw_panes()
        if change.everything or "metrics" in parts:
            self._draw_metrics()
        if change.everything or parts & {"findings", "metrics"}:
            self._draw_advice()

    def settle_soon(self) -> None:
        """Sort the board now, and again with the next change: the reply may be here before or after what it changed."""
        self._sort()
        self._sorted_at = 0.0

    def _draw_rows(self, change: ViewChanged) -> None:
        session = self._shared.session
        rows, now = session.projection.rows, session.now()
        self._sort_due = True
        if change.everything or not self.board.tasks.order or now - self._sorted_at >= RESORT_SECONDS:
            self._sort()
        else:
            self.board.show_changes(rows, change.keys, now)

    def _sort(self) -> None:
        session = self._shared.session
        self._sorted_at = session.now()
        self._sort_due = False
        self.board.show_rows(session.projection.rows, self._sorted_at)

    def _draw_counters(self) -> None:
        projection = self._shared.session.projection
        counts, left = projection.counts, time_left(projection.counts, projection.metrics)
        self._counters.show(counters(counts, max(0, self.size.width - 2), left=left, ascii_only=self._ascii))

    def _draw_banner(self) -> None:
        session = self._shared.session
        stale = session.now() - self._lost_at if self._lost_at is not None else 0.0
        note = run_note(session.projection.run, connected=session.connected, stale_s=stale)
        note = note or finished_line(session.projection.run)
        self._banner.display = note is not None
        if note is not None:
            self._banner.show(
                [Piece(fit(f" {note.text}", self.size.width, ascii_only=self._ascii), note.role, note.bold)]
            )

    def _draw_panes(self) -> None:
        session = self._shared.session
        slots = self._shared.slots()
        shown = slots[:PANES]
        for index, tail in enumerate(self._panes):
            tail.set_class(index >= len(shown), "-absent")
            if index < len(shown):
                slot = shown[index]
                task = session.projection.rows.get(slot.task_key)
                tail.show(pane(index + 2, slot, task, session.now(), ascii_only=self._ascii))
        more = len(slots) - len(shown)
        self.query_one("#side").border_subtitle = Content(f"{more} more: w" if more > 0 else "")

    def _draw_metrics(self) -> None:
        metrics = self._shared.session.projection.metrics
        width, height = self._metrics.size
        if metrics is not self._measured:
            self._measured = metrics
            self._throughput.append(float((metrics or {}).get("throughput_tasks_per_minute") or 0.0))
        if height <= 1:
            self._metrics.show([Piece(join_fitting(metric_parts(metrics), width))])
            return
        words = [[Piece(line)] for line in wrap_parts(metric_parts(metrics), width, height - 1)]
        curve = [Piece(spark(list(self._throughput), width, ascii_only=self._ascii), "accent")]
        self._metrics.show(*words, *[[] for _ in range(height - 1 - len(words))], curve)

    def _draw_advice(self) -> None:
        projection = self._shared.session.projection
        told = advice(projection.findings, measured=bool(projection.metrics))
        panel = self._advice
        panel.set_class(told.role in ("error", "warning"), "-found")
        panel.border_title = Content(f"6 {told.title}")
        panel.border_subtitle = Content(f"{told.more} more in the report: E" if told.more else "")
        width, height = panel.size
        remedy = wrap(told.remedy, width, max(1, height - 1), ascii_only=self._ascii)
        panel.show(
            [Piece(fit(told.evidence, width, ascii_only=self._ascii), "muted")], *[[Piece(line)] for line in remedy]
        )

    def _every_second(self) -> None:
        """Times go on although nothing else changes; the connection is looked at; what waits for sorting is sorted."""
        session = self._shared.session
        if not session.connected:
            if self._lost_at is None:
                self._lost_at = session.now()
            self._draw_banner()
            return
        if self.app.screen is not self:
            return
        if self._sort_due:
            self._sort()
        else:
            self.board.show_times(session.now())
        self._draw_panes()

    # Size.

    def on_resize(self, event: events.Resize) -> None:
        """Say when there is too little room, ask for the output that can be seen, and fill the new width."""
        self._too_small.show(
            [Piece(f"terminal too small: {event.size.width}x{event.size.height}, needs 60x16", bold=True)]
        )
        self.look()
        self.call_after_refresh(self.draw_all)

    def look(self) -> None:
        """Ask the engine for the output of the panes in view only."""
        names = (
            tuple(slot.name for slot in self._shared.slots()[:PANES]) if self.size.width >= self._shared.WIDE else ()
        )
        self._shared.session.look(View(workers=None if names and len(self._shared.slots()) <= PANES else names))

    def on_screen_resume(self) -> None:
        """Draw what changed while another screen was on top."""
        if self.is_mounted:
            self.look()
            self.draw_all()

    # Actions that change what is seen and nothing else.

    def action_cursor(self, lines: int) -> None:
        """``j`` and ``k``."""
        self.board.move_cursor(lines)

    def action_cursor_to(self, where: str) -> None:
        """``g`` and ``G``."""
        self.board.move_to(0 if where == "first" else -1)

    def action_page(self, pages: int) -> None:
        """PgUp and PgDn."""
        self.board.move_page(pages)

    def action_panel(self, step: int) -> None:
        """Tab: the next panel that is in view."""
        names = [name for name in PANELS if self.query_one(f"#{name}").region.area]
        focused = self.focused.id if self.focused is not None and self.focused.id in names else names[0]
        self.action_focus_panel(names[(names.index(focused or names[0]) + step) % len(names)])

    def action_focus_panel(self, name: str) -> None:
        """``1`` to ``6``."""
        panel = self.query_one(f"#{name}")
        if panel.region.area:
            panel.focus()
        elif name.startswith("pane"):
            self.action_workers()

    def action_zoom(self) -> None:
        """``z``: the focused panel alone, and back."""
        chosen = None if self.has_class("-zoom") else self.focused or self.board
        self.set_class(chosen is not None, "-zoom")
        for part in self.query("#body > *, #side > *, #panes > *"):
            kept = chosen is None or part is chosen or part in chosen.ancestors
            part.set_class(not kept, "-away")
            part.set_class(chosen is not None and kept, "-full")
        self.call_after_refresh(self.draw_all)

    def action_workers(self) -> None:
        """``w``."""
        self._shared.show_workers()

    def action_next_theme(self) -> None:
        """``T``."""
        self._shared.next_theme()

    def action_filter(self) -> None:
        """``/``: opens the filter line."""
        box = self._filter
        box.add_class("-open")
        box.focus()

    @on(Input.Changed, "#filter")
    def filter_changed(self, event: Input.Changed) -> None:
        """Filter while typing."""
        self.board.show_filter(parse_filter(event.value))

    @on(Input.Submitted, "#filter")
    def filter_done(self) -> None:
        """Enter: keep the filter and go back to the board."""
        self._close_filter()

    def _close_filter(self) -> None:
        self._filter.remove_class("-open")
        self.board.focus()

    def action_back(self) -> None:
        """Esc: one step back: the open filter line, then zoom, then the filter, then the marks, then the board."""
        box = self._filter
        if box.has_class("-open"):
            box.value = ""
            self._close_filter()
        elif self.has_class("-zoom"):
            self.action_zoom()
        elif box.value:
            box.value = ""
        elif not self.board.clear_marks():
            self.board.focus()

    @on(Hints.Chosen)
    async def hint_chosen(self, event: Hints.Chosen) -> None:
        """A hint was clicked."""
        await self.run_action(event.action)

    @on(Board.Opened)
    def task_opened(self) -> None:
        """A task was clicked twice."""
        self.action_log()
