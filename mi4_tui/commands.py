"""From what a user wants to what the engine is asked: changes of order with undo, and the command palette.

`Orders` knows the session and no widget; the screens show what it says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from textual.command import DiscoveryHit, Hit, Hits, Provider

from engine.errors import SessionLostError
from engine.events.projection import TaskRow
from engine.session import AnyCommand, Move, Reply, Reprioritise, RestoreOrder, Session
from engine.tasks.model import Priority

from .keymap import MOVE, Key, in_scope

UNDO_STEPS = 100
"""Changes of order that can be taken back; older ones are forgotten."""


def clamp_priority(priority: float) -> float:
    """Into the range that the engine allows."""
    return max(Priority.LOW, min(Priority.CRITICAL, priority))


class Orders:
    """Asks the engine for changes and remembers how to take changes of order back.

    Mutable state, owned by the app: the undo steps, and how many unconfirmed changes each id has, with the priority asked for.
    """

    def __init__(self, session: Session, on_pending: Callable[[], None] = lambda: None) -> None:
        self._session = session
        self._on_pending = on_pending
        self._undo: list[dict[str, tuple[float, float]]] = []
        self._waiting: dict[str, int] = {}
        self.pending: dict[str, float | None] = {}
        """Ids whose change is not confirmed yet, with the priority asked for (None: unchanged)."""

    @property
    def undo_steps(self) -> int:
        """How many changes can be taken back."""
        return len(self._undo)

    async def ask(self, command: AnyCommand) -> Reply:
        """The engine's reply; a lost engine is a refusal too, never an exception."""
        try:
            return await self._session.ask(command)
        except SessionLostError:
            return Reply(ok=False, message="the engine is gone; leave with q and start again with 'mi4-tui attach'")

    async def change_priority(self, rows: Sequence[TaskRow], delta: float) -> Reply:
        """Raise or lower by `delta`, within 100 to 400."""
        asked = {row.id: clamp_priority((self.pending.get(row.id) or row.priority) + delta) for row in rows}
        return await self._reorder(Reprioritise(ids=tuple(asked), delta=delta), asked)

    async def reset(self, rows: Sequence[TaskRow]) -> Reply:
        """Back to normal priority, and to the place that the score alone gives."""
        values = {row.id: (Priority.NORMAL, 0.0) for row in rows}
        return await self._reorder(RestoreOrder(values=values), dict.fromkeys(values, Priority.NORMAL))

    async def move(self, rows: Sequence[TaskRow], where: Any) -> Reply:
        """Move in the queue; `where` as in `Move`."""
        ids = tuple(row.id for row in rows)
        return await self._reorder(Move(ids=ids, where=where), dict.fromkeys(ids))

    async def undo(self) -> Reply:
        """Take the last confirmed change of order back."""
        if not self._undo:
            return Reply(ok=False, message="nothing to undo: no order has been changed here")
        values = self._undo.pop()
        asked: dict[str, float | None] = {task_id: priority for task_id, (priority, _) in values.items()}
        reply = await self._reorder(RestoreOrder(values=values), asked, undoable=False)
        if not reply.ok:
            self._undo.append(values)
        return reply

    async def _reorder(self, command: AnyCommand, asked: Mapping[str, float | None], *, undoable: bool = True) -> Reply:
        self._mark(asked)
        try:
            reply = await self.ask(command)
        finally:
            self._unmark(asked)
        previous = previous_order(reply)
        if reply.ok and previous and undoable:
            self._undo.append(previous)
            del self._undo[:-UNDO_STEPS]
        return reply

    def _mark(self, asked: Mapping[str, float | None]) -> None:
        for task_id, priority in asked.items():
            self._waiting[task_id] = self._waiting.get(task_id, 0) + 1
            self.pending[task_id] = priority
        self._on_pending()

    def _unmark(self, asked: Mapping[str, float | None]) -> None:
        for task_id in asked:
            self._waiting[task_id] -= 1
            if not self._waiting[task_id]:
                del self._waiting[task_id]
                del self.pending[task_id]
        self._on_pending()


def previous_order(reply: Reply) -> dict[str, tuple[float, float]]:
    """Priority and manual term by id before a change, as its reply tells them."""
    previous = reply.data.get("previous") or {}
    return {str(task_id): (float(values[0]), float(values[1])) for task_id, values in previous.items()}


class KeyCommands(Provider):
    """Every key of the screen as a command of the palette."""

    def _commands(self) -> list[tuple[Key, Callable[[], Any]]]:
        screen = self.screen
        scope = getattr(screen, "SCOPE", "everywhere")
        keys = sorted((key for key in in_scope(scope) if key.id != "palette"), key=lambda key: key.group == MOVE)
        return [(key, partial(screen.run_action, key.action)) for key in keys]

    async def discover(self) -> Hits:
        """All of them, before anything is typed."""
        for key, run in self._commands():
            yield DiscoveryHit(_named(key), run, help=key.help)

    async def search(self, query: str) -> Hits:
        """Those whose name or help fits what is typed."""
        matcher = self.matcher(query)
        for key, run in self._commands():
            name = _named(key)
            score = max(matcher.match(name), matcher.match(key.help) * 0.8)
            if score > 0:
                yield Hit(score, matcher.highlight(name), run, text=name, help=key.help)


def _named(key: Key) -> str:
    return f"{key.label}  ({key.shown()})"
