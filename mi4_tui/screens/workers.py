"""All workers with their live output, as many as there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import ItemGrid, VerticalScroll
from textual.screen import Screen

from engine.session import View

from ..keymap import bindings, hints
from ..run_models import metric_parts, pane
from ..view_models import Piece
from ..widgets.hints import Hints
from ..widgets.lines import Lines
from ..widgets.tail import Tail

if TYPE_CHECKING:
    from ..app import Mi4App


class WorkersScreen(Screen[None]):
    """A grid of panes. State: the panes by the name of their slot."""

    SCOPE = "workers"
    CSS_PATH = "workers.tcss"
    BINDINGS: ClassVar[list[BindingType]] = list(bindings("workers"))

    def __init__(self, app: Mi4App) -> None:
        super().__init__()
        self._shared = app
        self._panes: dict[str, Tail] = {}
        self._title = Lines(id="workers-title", gap="  ")
        self._grid = ItemGrid(id="workers-grid", min_column_width=56, stretch_height=False)

    def compose(self) -> ComposeResult:
        """A line, the grid, and the hints."""
        yield self._title
        with VerticalScroll(can_focus=False):
            yield self._grid
        yield Hints(hints("workers", self._shared.key_overrides), id="workers-hints")

    def on_mount(self) -> None:
        """Ask for all output and draw."""
        self._shared.session.look(View(workers=None))
        self.set_interval(1.0, self.draw)
        self.call_after_refresh(self.draw)

    def draw(self, *_: object) -> None:
        """Draw every slot, with a pane for each that is new."""
        if not self.is_mounted or self.app.screen is not self:
            return
        session = self._shared.session
        slots = self._shared.slots()
        busy = sum(slot.state == "busy" for slot in slots)
        title = Piece(f" Workers: {len(slots)}, {busy} busy", bold=True)
        self._title.show([title, *[Piece(part) for part in metric_parts(session.projection.metrics)]])
        for slot in slots:
            if slot.name not in self._panes:
                self._panes[slot.name] = Tail(ascii_only=self._shared.ascii_only)
                self._grid.mount(self._panes[slot.name])
            task = session.projection.rows.get(slot.task_key)
            self._panes[slot.name].show(pane(None, slot, task, session.now(), ascii_only=self._shared.ascii_only))

    def action_back(self) -> None:
        """To the board."""
        self.dismiss()

    async def on_hints_chosen(self, event: Hints.Chosen) -> None:
        """A hint was clicked."""
        await self.run_action(event.action)
