"""Every key of the board, at two sizes: what the engine is asked and what is seen."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest
from textual.widgets import Input

from engine.events import events as ev
from engine.session import (
    Cancel,
    Explain,
    Move,
    Pause,
    Reply,
    Reprioritise,
    RestoreOrder,
    Resume,
    Retry,
    StopEngine,
    WriteReport,
)
from mi4_tui import keymap
from mi4_tui.screens.dialog import Question
from mi4_tui.screens.explain import Explanation
from mi4_tui.screens.help import Help
from mi4_tui.screens.log import LogScreen
from mi4_tui.screens.workers import WorkersScreen
from mi4_tui.widgets.lines import Lines

SIZES = [(80, 24), (140, 45)]


class Flow:
    """An app under test, and what a flow looks at."""

    def __init__(self, app, pilot, session):
        self.app, self.pilot, self.session = app, pilot, session

    async def press(self, *keys):
        for key in keys:
            await self.pilot.press(key)
        await self.pilot.pause()
        asked = [worker for worker in self.app.workers if worker.group == "commands"]
        if asked:
            await self.app.workers.wait_for_complete(asked)
        await self.pilot.pause()

    @property
    def main(self):
        return self.app.main_screen

    @property
    def board(self):
        return self.main.board

    @property
    def commands(self):
        return self.session.commands

    @property
    def said(self):
        return [note.message for note in self.app._notifications]

    def go(self, task_id):
        """Put the cursor on a task, in view."""
        row = self.session.projection.row(task_id)
        self.board.move_to(self.board.tasks.place[row.key])

    def text(self, selector):
        return self.main.query_one(selector, Lines).text


@asynccontextmanager
async def opened(session, open_app, size):
    app = open_app(session)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        yield Flow(app, pilot, session)


def at_both_sizes(check):
    """A test of this flow at each size (the app must live in the task of its test, so a fixture will not do)."""

    @pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
    async def test(size, session, open_app):
        async with opened(session, open_app, size) as flow:
            await check(flow)

    return test


async def down(flow):
    await flow.press("j", "down")
    assert flow.board.tasks.line == 2


async def up(flow):
    await flow.press("j", "j", "k", "up")
    assert flow.board.tasks.line == 0


async def first(flow):
    await flow.press("G", "g")
    assert flow.board.tasks.line == 0
    assert not flow.board.touched


async def last(flow):
    await flow.press("G")
    assert flow.board.tasks.line == len(flow.board.tasks.order) - 1
    assert flow.board.cursor_in_view()


async def page_down(flow):
    await flow.press("pagedown")
    assert 5 < flow.board.tasks.line < 60
    assert flow.board.cursor_in_view()


async def page_up(flow):
    await flow.press("G", "ctrl+u")
    assert flow.board.tasks.line < len(flow.board.tasks.order) - 5
    assert flow.board.cursor_in_view()


async def next_panel(flow):
    await flow.press("tab")
    assert flow.app.focused.id == ("pane-0" if flow.app.size.width > 100 else "advice")


async def previous_panel(flow):
    await flow.press("shift+tab")
    assert flow.app.focused.id == "advice"


async def board(flow):
    await flow.press("6", "1")
    assert flow.app.focused is flow.board


def pane_key(number):
    async def check(flow):
        await flow.press(str(number + 2))
        if flow.app.size.width > 100:
            assert flow.app.focused.id == f"pane-{number}"
        else:
            assert isinstance(flow.app.screen, WorkersScreen)

    return check


async def advice(flow):
    await flow.press("6")
    assert flow.app.focused.id == "advice"
    assert "most common AssertionError" in flow.text("#advice")


async def raise_(flow):
    flow.go("33")
    await flow.press("plus")
    assert flow.commands == [Reprioritise(ids=("33",), delta=100)]
    assert flow.session.projection.row("33").priority == 400
    assert flow.board.row.id == "33"


async def lower(flow):
    flow.go("33")
    await flow.press("minus", "underscore")
    assert flow.commands == [Reprioritise(ids=("33",), delta=-100)] * 2


async def reset(flow):
    flow.go("33")
    await flow.press("0")
    assert flow.commands == [RestoreOrder(values={"33": (200.0, 0.0)})]


async def top(flow):
    flow.go("36")
    await flow.press("t")
    assert flow.commands == [Move(ids=("36",), where="top")]
    queued = [key for key in flow.board.tasks.order if flow.session.projection.rows[key].state == "queued"]
    assert queued[0] == flow.session.projection.row("36").key
    assert flow.board.row.id == "36"


async def bottom(flow):
    flow.go("34")
    await flow.press("b")
    assert flow.commands == [Move(ids=("34",), where="bottom")]


async def undo(flow):
    flow.go("34")
    before = list(flow.board.tasks.order)
    await flow.press("b", "u")
    assert flow.commands[-1] == RestoreOrder(values={"34": (400.0, 0.0)})
    await flow.press("u")
    assert len(flow.commands) == 2
    assert "nothing to undo" in flow.said[-1]
    assert flow.board.tasks.order == before


async def mark(flow):
    flow.go("34")
    await flow.press("space", "space", "plus")
    assert flow.commands == [Reprioritise(ids=("34", "39"), delta=100)]
    assert "2 marked" in str(flow.board.border_title)


async def mark_all(flow):
    await flow.press("slash", *"status:queued", "enter", "asterisk")
    assert len(flow.board.tasks.marks) == flow.session.projection.counts["queued"]
    await flow.press("asterisk")
    assert not flow.board.tasks.marks


async def pause(flow):
    await flow.press("p")
    assert flow.commands == [Pause()]
    flow.session.publish(ev.QueuePaused())
    flow.app.draw_waiting()
    flow.app.main_screen.draw_all()
    assert "paused" in flow.text("#banner")
    await flow.press("p")
    assert flow.commands[-1] == Resume()


async def cancel(flow):
    flow.go("31")
    await flow.press("x")
    assert isinstance(flow.app.screen, Question)
    await flow.press("x", "n", "escape")
    assert flow.commands == []
    await flow.press("x", "y")
    assert flow.commands == [Cancel(ids=("31",))]


async def retry(flow):
    flow.go("5")
    await flow.press("R")
    assert flow.commands == [Retry(ids=("5",))]
    flow.go("31")
    await flow.press("R")
    assert len(flow.commands) == 1
    assert "not ended" in flow.said[-1]


async def why(flow):
    flow.go("34")
    await flow.press("i")
    await flow.pilot.pause()
    assert flow.commands == [Explain(id="34")]
    assert isinstance(flow.app.screen, Explanation)
    text = flow.app.screen.query_one("#reading-text", Lines).text
    assert "224.2" in text
    assert "Place 7" in text
    await flow.press("escape")
    assert flow.app.screen is flow.main


async def log(flow):
    flow.go("5")
    await flow.press("l")
    assert isinstance(flow.app.screen, LogScreen)
    await flow.press("escape", "enter")
    assert isinstance(flow.app.screen, LogScreen)


async def filter_(flow):
    await flow.press("slash", *"status:fail", "enter")
    assert len(flow.board.tasks.order) == flow.session.projection.counts["failed"]
    assert "filter: status:fail" in str(flow.board.border_title)
    assert flow.app.focused is flow.board
    await flow.press("escape")
    assert len(flow.board.tasks.order) == len(flow.session.projection.rows)


async def zoom(flow):
    width = flow.board.region.width
    await flow.press("6", "z")
    assert not flow.board.region.area
    assert flow.main.query_one("#advice").region.width == flow.app.size.width
    await flow.press("z")
    assert flow.board.region.width == width


async def workers(flow):
    await flow.press("w")
    assert isinstance(flow.app.screen, WorkersScreen)
    await flow.press("w")
    assert flow.app.screen is flow.main


async def report(flow):
    await flow.press("E")
    (command,) = flow.commands
    assert isinstance(command, WriteReport)
    assert command.path.startswith(str(flow.app.folder / "mi4-report-2"))
    assert command.path.endswith(".json")
    assert command.path in flow.said[-1]


async def theme(flow):
    await flow.press("T")
    assert flow.app.theme == "mi4-light"
    await flow.press("T", "T")
    assert flow.app.theme == "mi4-dark"


async def palette(flow):
    await flow.press("colon")
    assert type(flow.app.screen).__name__ == "CommandPalette"
    await flow.press("escape", "ctrl+p", *"pause")
    async with asyncio.timeout(20):
        while not flow.commands:
            await flow.pilot.pause(0.4)
            if type(flow.app.screen).__name__ == "CommandPalette":
                await flow.pilot.press("enter")
                await flow.pilot.pause(0.4)
    assert flow.commands[0] == Pause()


async def help_(flow):
    await flow.press("question_mark")
    assert isinstance(flow.app.screen, Help)
    assert "raise the priority" in flow.app.screen.query_one("#reading-text", Lines).text
    await flow.press("escape", "f1")
    assert isinstance(flow.app.screen, Help)


async def quit_(flow):
    await flow.press("q")
    assert isinstance(flow.app.screen, Question)
    await flow.press("escape")
    assert flow.app.screen is flow.main
    await flow.press("ctrl+c", "d")
    assert flow.app.return_code == 0
    assert flow.commands == []


async def suspend(flow):
    assert keymap.BY_ID["suspend"].action == "app.suspend_process"
    assert callable(flow.app.action_suspend_process)


async def back(flow):
    await flow.press("space", "z", "slash", "a", "escape")
    assert flow.main.has_class("-zoom")
    assert not flow.main.query_one("#filter", Input).value
    await flow.press("escape")
    assert not flow.main.has_class("-zoom")
    await flow.press("escape")
    assert not flow.board.tasks.marks


CHECKS = {
    "down": down, "up": up, "first": first, "last": last, "page_down": page_down, "page_up": page_up, "next_panel": next_panel,
    "previous_panel": previous_panel, "board": board, "pane_1": pane_key(0), "pane_2": pane_key(1), "pane_3": pane_key(2),
    "pane_4": pane_key(3), "advice": advice, "raise": raise_, "lower": lower, "reset": reset, "top": top, "bottom": bottom,
    "undo": undo, "mark": mark, "mark_all": mark_all, "pause": pause, "cancel": cancel, "retry": retry, "why": why, "log": log,
    "filter": filter_, "zoom": zoom, "workers": workers, "report": report, "theme": theme, "palette": palette, "help": help_,
    "quit": quit_, "suspend": suspend, "back": back,
}  # fmt: skip


def test_every_key_of_the_board_has_a_check():
    assert set(CHECKS) == {key.id for key in keymap.in_scope("main")}


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_key(name, size, session, open_app):
    async with opened(session, open_app, size) as flow:
        await CHECKS[name](flow)


@at_both_sizes
async def test_stop_asks_the_engine_and_leaves(flow):
    await flow.press("q", "s")
    assert flow.commands == [StopEngine(now=False)]
    assert flow.app.return_code == 0


@at_both_sizes
async def test_a_refusal_is_told_and_changes_nothing(flow):
    flow.session.replies[Move] = Reply(ok=False, message="[b]task 34[/b] has ended")
    flow.go("34")
    await flow.press("t")
    assert flow.said == ["[b]task 34[/b] has ended"]
    assert flow.app.orders.undo_steps == 0


@at_both_sizes
async def test_an_action_on_a_cursor_out_of_view_only_shows_it(flow):
    flow.go("31")
    flow.board.scroll_to(y=60, animate=False)
    await flow.press("plus")
    assert flow.commands == []
    assert flow.board.cursor_in_view()
    await flow.press("plus")
    assert len(flow.commands) == 1


@at_both_sizes
async def test_pending_shows_at_once_and_goes_with_the_reply(flow):
    flow.go("33")
    seen = []
    answer = flow.session.replies[Reprioritise]

    def look(command):
        seen.append(flow.board.render_line(flow.board.tasks.line - flow.board.scroll_offset.y).text[:5])
        return answer(command)

    flow.session.replies[Reprioritise] = look
    await flow.press("plus")
    assert seen == ["▌ C~ "]
    assert flow.board.pending == {}


async def test_leaving_a_finished_run_asks_nothing(open_app, backlog):
    session = backlog.FakeSession(*backlog.run_of("w1"))
    app = open_app(session)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("q")
        await pilot.pause()
        assert app.return_code == 0
    assert session.commands == []


@at_both_sizes
async def test_the_report_is_not_written_by_the_app(flow):
    await flow.press("E")
    assert list(flow.app.folder.iterdir()) == []
    assert json.dumps(flow.commands[0].path)
