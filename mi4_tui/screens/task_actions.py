"""What the keys of the board do to tasks: each asks the engine, and says in one line what came of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from textual.screen import Screen

from engine.events.projection import TaskRow
from engine.session import AnyCommand, Cancel, Pause, Reply, Resume, Retry, WriteReport

from ..formatting import count, plain
from ..view_models import task_title
from ..widgets.board import Board
from .dialog import Choice, Question
from .explain import Explanation
from .log import LogScreen

if TYPE_CHECKING:
    from ..app import Mi4App

FINAL = ("succeeded", "failed", "timed_out", "cancelled", "skipped")
_PLACES = {"top": "to the top", "bottom": "to the bottom"}


def named(rows: list[TaskRow]) -> str:
    """One task by its name, more by their number."""
    return f"{plain(rows[0].id)} {task_title(rows[0])}"[:60] if len(rows) == 1 else f"{count(len(rows))} tasks"


class TaskActions(Screen[None]):
    """The actions; a screen that has a board inherits them."""

    @property
    def mi4(self) -> Mi4App:
        """The app, with what all screens share."""
        return self.app  # type: ignore[return-value]

    @property
    def board(self) -> Board:
        """The list of tasks."""
        raise NotImplementedError

    def settle_soon(self) -> None:
        """Sort the board now and with the next change, without waiting for its turn."""
        raise NotImplementedError

    def targets(self) -> list[TaskRow]:
        """What the next action is about: the marked tasks, else the one under the cursor, which must be in view."""
        tasks = self.board.tasks
        if not tasks.marks and tasks.cursor is not None and not self.board.reveal():
            self.mi4.say("this is the chosen task: press the key again", "warning")
            return []
        rows = tasks.targets()
        if not rows:
            self.mi4.say("there is no task to do this with", "warning")
        return rows

    def carry_out(self, asking: Awaitable[Reply], done: str, then: Callable[[Reply], None] | None = None) -> None:
        """Wait for a reply beside everything else, then say what came of it: the engine's sentence, or `done`."""
        self.run_worker(self._told(asking, done, then), group="commands")

    async def _told(self, asking: Awaitable[Reply], done: str, then: Callable[[Reply], None] | None) -> None:
        reply = await asking
        if not reply.ok:
            self.mi4.say(reply.message or "the engine refused, without saying why", "error")
            return
        self.mi4.say(reply.message or done)
        self.settle_soon()
        if then is not None:
            then(reply)

    def _ask(self, command: AnyCommand, done: str, then: Callable[[Reply], None] | None = None) -> None:
        self.carry_out(self.mi4.orders.ask(command), done, then)

    def action_raise_priority(self, delta: float) -> None:
        """``+`` and ``-``."""
        if rows := self.targets():
            word = "up" if delta > 0 else "down"
            self.carry_out(self.mi4.orders.change_priority(rows, delta), f"priority {word}: {named(rows)}")

    def action_reset_order(self) -> None:
        """``0``."""
        if rows := self.targets():
            self.carry_out(self.mi4.orders.reset(rows), f"normal priority: {named(rows)}")

    def action_move(self, where: str) -> None:
        """``t`` and ``b``."""
        if rows := self.targets():
            self.carry_out(self.mi4.orders.move(rows, where), f"{_PLACES.get(where, where)}: {named(rows)}")

    def action_undo(self) -> None:
        """``u``."""
        self.carry_out(self.mi4.orders.undo(), "undone: the order is as before")

    def action_mark(self) -> None:
        """``space``."""
        if self.board.tasks.cursor is not None and self.board.reveal():
            self.board.toggle_mark()

    def action_mark_all(self) -> None:
        """``*``."""
        self.board.toggle_all()

    def action_pause(self) -> None:
        """``p``: pause, or go on when paused."""
        run = self.mi4.session.projection.run
        if run.state == "paused" or run.paused_reason:
            self._ask(Resume(), "going on")
        else:
            self._ask(Pause(), "paused: what runs goes on, nothing new starts; p goes on")

    def action_cancel(self) -> None:
        """``x``: asks first, and the answer is another key."""
        rows = [row for row in self.targets() if row.state not in FINAL]
        if not rows:
            if self.board.tasks.targets() and self.board.cursor_in_view():
                self.mi4.say("nothing to cancel: it has ended", "warning")
            return
        running = sum(row.state in ("running", "leased") for row in rows)
        told = [named(rows), f"{count(running)} running: stopped by TERM, then KILL" if running else "not started yet"]
        ids = tuple(row.id for row in rows)

        def answered(key: str | None) -> None:
            if key == "y":
                self._ask(Cancel(ids=ids), f"cancelled: {named(rows)}", lambda _: self._drop_marks())

        self.app.push_screen(Question("Cancel?", told, [Choice("y", "yes, cancel")]), answered)

    def action_retry(self) -> None:
        """``R``: run finished tasks again."""
        rows = [row for row in self.targets() if row.state in FINAL]
        if rows:
            ids = tuple(row.id for row in rows)
            self._ask(Retry(ids=ids), f"queued again: {named(rows)}", lambda _: self._drop_marks())
        elif self.board.tasks.targets() and self.board.cursor_in_view():
            self.mi4.say("nothing to run again: it has not ended yet", "warning")

    def _drop_marks(self) -> None:
        self.board.clear_marks()

    def action_explain(self) -> None:
        """``i``."""
        row = self._one()
        if row is not None:
            self.app.push_screen(Explanation(row, self.mi4.orders, self.mi4.session.now()))

    def action_log(self) -> None:
        """``l`` and Enter."""
        row = self._one()
        if row is not None:
            self.app.push_screen(LogScreen(row, self.mi4))

    def _one(self) -> TaskRow | None:
        """The task under the cursor, in view; what opens one task does not look at marks."""
        row = self.board.row
        if row is None:
            self.mi4.say("there is no task to look at", "warning")
        elif not self.board.reveal():
            self.mi4.say("this is the chosen task: press the key again", "warning")
        else:
            return row
        return None

    def action_report(self) -> None:
        """``E``."""
        path = self.mi4.report_path()

        self.carry_out(self.mi4.orders.ask(WriteReport(path=str(path))), f"report written to {path}")
