"""Why a task has its score and its place: asked of the engine when it is opened."""

from __future__ import annotations

from engine.events.projection import TaskRow
from engine.session import Explain

from ..commands import Orders
from ..formatting import plain
from ..view_models import Piece, explanation, task_title
from .dialog import Reading


class Explanation(Reading):
    """The score of one task, term by term."""

    def __init__(self, row: TaskRow, orders: Orders, now: float) -> None:
        super().__init__(f"Why: {plain(row.id)}  {task_title(row)}"[:90], [[Piece("asking the engine", "muted")]])
        self._row = row
        self._orders = orders
        self._now = now

    def on_mount(self) -> None:
        """Ask."""
        self.run_worker(self._fill())

    async def _fill(self) -> None:
        reply = await self._orders.ask(Explain(id=self._row.id))
        if not self.is_mounted:
            return
        if reply.ok:
            self.show([[piece] for piece in explanation(self._row, reply.data, self._now)])
        else:
            self.show([[Piece(plain(reply.message), "error")]])
