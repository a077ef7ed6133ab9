"""The board draws what is in view, keeps the cursor in place, and is fast at any size."""

from pathlib import Path
from time import process_time

from textual.app import App

import mi4_tui.app
from engine.events.projection import TaskRow
from mi4_tui.app import Mi4App
from mi4_tui.widgets.board import Board


class Bench(App):
    CSS_PATH = [Path(mi4_tui.app.__file__).parent / name for name in Mi4App.CSS_PATH]  # noqa: RUF012 - Textual's form

    def compose(self):
        yield Board(id="board")


def many(count, state="queued"):
    return {
        key: TaskRow(key=key, id=str(key), title=f"task {key}", state=state, score_base=float(-key))
        for key in range(1, count + 1)
    }


async def test_rows_do_not_jump_under_the_cursor():
    rows = many(200)
    async with Bench().run_test(size=(80, 24)) as pilot:
        board = pilot.app.query_one(Board)
        board.show_rows(rows, 0.0)
        await pilot.pause()
        board.move_cursor(30)
        await pilot.pause()
        before = board.tasks.line - board.scroll_offset.y
        for key in range(100, 105):
            rows[key].state = "running"
        board.show_rows(rows, 1.0)
        await pilot.pause()
        assert board.row.key == 31
        assert board.tasks.line == 35
        assert board.tasks.line - board.scroll_offset.y == before


async def test_an_untouched_board_stays_at_the_top():
    rows = many(200)
    async with Bench().run_test(size=(80, 24)) as pilot:
        board = pilot.app.query_one(Board)
        board.show_rows(rows, 0.0)
        await pilot.pause()
        rows[1].state = "succeeded"
        rows[1].finished_at = 1.0
        board.show_rows(rows, 1.0)
        await pilot.pause()
        assert board.scroll_offset.y == 0
        assert not board.cursor_in_view()
        board.move_cursor(1)
        assert board.row.key == 2


async def test_a_click_moves_the_cursor_and_two_open():
    opened = []

    class Clicked(Bench):
        def on_board_opened(self):
            opened.append(True)

    async with Clicked().run_test(size=(80, 24)) as pilot:
        board = pilot.app.query_one(Board)
        board.show_rows(many(50), 0.0)
        await pilot.pause()
        await pilot.click(board, offset=(5, 4))
        assert board.row.key == 4
        await pilot.click(board, offset=(5, 4), times=2)
        await pilot.pause()
        assert opened


async def test_ten_thousand_tasks_cost_little():
    rows = many(10_000)
    async with Bench().run_test(size=(120, 40)) as pilot:
        board = pilot.app.query_one(Board)
        started = process_time()
        board.show_rows(rows, 0.0)
        await pilot.pause()
        assert process_time() - started < 1.5
        started = process_time()
        for number in range(50):
            rows[5].progress = f"{number}%"
            board.show_changes(rows, (5, 9_999), float(number))
        assert process_time() - started < 0.5
