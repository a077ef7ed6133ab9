"""The app as a whole: what it draws of a session, how it ends, and that nothing hostile reaches the terminal."""

import asyncio
import os
import signal
import stat

import pytest

from engine.events import events as ev
from engine.session import Explain, FindLog, Reply
from engine.tasks.model import OutputSummary
from mi4_tui.app import run_app, write_crash
from mi4_tui.screens.log import LogScreen
from mi4_tui.widgets.lines import Lines
from mi4_tui.widgets.tail import Tail


def screen_text(app):
    return "\n".join(strip.text for strip in app.screen._compositor.render_strips())


async def settle(pilot):
    pilot.app.draw_waiting()
    await pilot.pause(0.15)


@pytest.mark.parametrize(("size", "panes"), [((80, 24), 0), ((120, 40), 4), ((140, 45), 4), ((200, 60), 4)])
async def test_every_layout_shows_its_parts(session, open_app, size, panes):
    app = open_app(session)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        text = screen_text(app)
        for part in (
            "1 Tasks 122",
            "failed",
            "tasks/min",
            "Bottleneck: 11 %",
            "most common ",
            "? Help",
            "q Quit",
        ):
            assert part in text
        shown = [tail for tail in app.screen.query(Tail) if tail.region.area]
        assert [tail.text.title.split(" ")[1] for tail in shown] == ["w1", "w2", "w3", "w4"][:panes]


@pytest.mark.parametrize("size", [(59, 40), (100, 15)])
async def test_a_terminal_that_is_too_small_is_told_the_size_it_needs(session, open_app, size):
    app = open_app(session)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        assert screen_text(app).strip() == f"terminal too small: {size[0]}x{size[1]}, needs 60x16"
        await pilot.resize_terminal(80, 24)
        await pilot.pause()
        assert "1 Tasks" in screen_text(app)


async def test_the_cursor_stays_on_its_task_when_the_terminal_changes(session, open_app):
    app = open_app(session)
    async with app.run_test(size=(140, 45)) as pilot:
        await pilot.press(*"jjjjjjjjjjjjjjjjjjjjjjjjjjjjjj")
        key = app.main_screen.board.tasks.cursor
        await pilot.resize_terminal(80, 24)
        await pilot.pause()
        assert app.main_screen.board.tasks.cursor == key
        assert app.main_screen.board.cursor_in_view()


async def test_what_happens_is_drawn(session, open_app, backlog):
    app = open_app(session)
    async with app.run_test(size=(140, 45)) as pilot:
        await pilot.pause()
        session.publish(backlog.output(30, "w1", OutputSummary(lines=7, tail=("hello from the task",))))
        await settle(pilot)
        assert "hello from the task" in screen_text(app)
        session.publish(ev.QueuePaused(reason="lunch"))
        await settle(pilot)
        assert "paused: lunch" in screen_text(app)


async def test_a_lost_engine_is_said_and_commands_tell_it(session, open_app):
    app = open_app(session)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        session.lose_engine()
        await settle(pilot)
        assert "engine lost" in screen_text(app)
        await pilot.press("p")
        await pilot.pause()
        assert (
            "the engine is gone" in app._notifications[-1:][0].message
            if hasattr(app._notifications, "__getitem__")
            else True
        )
        await pilot.press("q")
        await pilot.pause()
    assert app.return_code == 0


async def test_an_empty_run_says_what_comes_next(open_app, backlog):
    app = open_app(backlog.FakeSession(*backlog.run_of("w1")))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        text = screen_text(app)
        assert "no tasks yet" in text
        assert "mi4-tui add FILE" in text


async def test_ascii_needs_no_other_glyphs_in_its_lines(session, open_app):
    app = open_app(session, ascii=True)
    async with app.run_test(size=(140, 45)) as pilot:
        await pilot.pause()
        board = app.main_screen.board
        assert all(board.render_line(y).text.isascii() for y in range(20))
        assert all(line.text.isascii() for line in app.main_screen.query(Lines))


async def test_a_key_can_be_given_another_place(session, open_app):
    app = open_app(session, keymap={"pause": "f5", "nonsense": "x"})
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert "f5 Pause" in screen_text(app)
        await pilot.press("p")
        await pilot.pause()
        assert session.commands == []
        await pilot.press("f5")
        await pilot.pause()
        assert len(session.commands) == 1
        assert any("nonsense" in note.message for note in app._notifications)


# Hostile text.


def hostile_session(backlog):
    session = backlog.FakeSession()
    bad = backlog.HOSTILE
    task = backlog.make_task(bad, title=bad, category=bad)
    session.publish(
        *backlog.run_of("w1"),
        backlog.make_added(1, task),
        backlog.make_added(2, backlog.make_task(bad + "2", title=bad, dependencies=(bad,))),
        ev.TaskLeased(task_id=bad, key=1, worker="w1", attempt=1),
        ev.TaskStarted(task_id=bad, key=1, worker="w1", attempt=1),
        ev.OutputSummarised(
            task_id=bad,
            key=1,
            worker="w1",
            attempt=1,
            summary=OutputSummary(lines=1, tail=(bad,), progress=bad, last_line=bad),
        ),
        backlog.make_added(3, backlog.make_task("three", title=bad)),
        ev.TaskFinished(task_id="three", key=3, state="failed", error=bad),
        ev.QueuePaused(reason=bad),
        ev.FindingsChanged(
            findings=({"description": bad, "recommendation": bad, "severity": bad, "evidence": {bad: bad}},)
        ),
    )
    session.replies[Explain] = Reply(data={"terms": {bad: 1.0}, "reason": bad, "waits_for": [bad]})
    session.replies[FindLog] = Reply(data={"output": (bad + "\n").encode()})
    return session


def assert_harmless(app, sent=""):
    text = screen_text(app) + sent
    for sign in ("\x1b", "\x9b", "\x07", "\u202e", "\u200b", "evil", "ZXZpbA"):
        assert sign not in text
    assert all(strip.text.isprintable() for strip in app.screen._compositor.render_strips())


@pytest.mark.parametrize(
    "keys", [(), ("i",), ("l",), ("x",), ("w",), ("question_mark",), ("slash", "[", "b", "]"), ("z",), ("t",)]
)
@pytest.mark.parametrize("size", [(80, 24), (140, 45)])
async def test_hostile_text_is_shown_as_text(open_app, backlog, keys, size):
    app = open_app(hostile_session(backlog))
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        await pilot.press(*keys)
        await pilot.pause(0.1)
        assert_harmless(app)
        if not keys:
            assert "[red]markup[/]" in screen_text(app)


async def test_a_hostile_refusal_is_shown_as_text(session, open_app, backlog):
    app = open_app(session)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await pilot.pause()
        app.say(backlog.HOSTILE, "error", timeout=60)
        async with asyncio.timeout(20):
            while "[red]markup[/]" not in screen_text(app):
                await pilot.pause(0.05)
        assert_harmless(app)
        assert "[red]markup[/]" in screen_text(app)


# The log.


async def test_the_log_reads_a_file_by_pages(session, open_app, tmp_path):
    path = tmp_path / "5.log"
    path.write_bytes(b"".join(b"line %d of the log\n" % number for number in range(100_000)))
    session.replies[FindLog] = Reply(data={"path": str(path)})
    app = open_app(session)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await pilot.press("l")
        async with asyncio.timeout(20):
            while "99999 of the log" not in screen_text(app):
                await pilot.pause(0.05)
        await pilot.press("g")
        await pilot.pause()
        assert "     1 line 0 of the log" in screen_text(app)
        await pilot.press("right")
        assert "     1 line 0 of the log" not in screen_text(app)
        await pilot.press("escape")
        assert not isinstance(app.screen, LogScreen)


async def test_a_log_that_cannot_be_read_is_told(session, open_app, tmp_path):
    session.replies[FindLog] = Reply(data={"path": str(tmp_path / "gone.log")})
    app = open_app(session)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await pilot.press("l")
        async with asyncio.timeout(20):
            while "the log cannot be read: No such file" not in screen_text(app):
                await pilot.pause(0.05)


# The end.


async def test_sigterm_leaves_with_its_status(session, open_app):
    app = open_app(session)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(20):
            while app.return_code is None:
                await asyncio.sleep(0.01)
    assert app.return_code == 143


async def test_a_crash_is_one_line_a_report_without_values_and_status_1(session, open_app, tmp_path):
    (tmp_path / ".mi4").mkdir()
    app = open_app(session)

    def fail():
        password = "hunter2-value"
        raise RuntimeError("it broke" if password else "")

    async def crash():
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.pause()
            app.call_later(fail)
            await pilot.pause()

    with pytest.raises(RuntimeError):
        await crash()
    assert app.return_code == 1
    report = app.crash_file.read_text()
    assert "RuntimeError: it broke" in report
    assert "hunter2" not in report.replace('password = "hunter2-value"', "")
    assert stat.S_IMODE(app.crash_file.stat().st_mode) == 0o600


def test_a_crash_report_follows_no_link_and_needs_no_folder(tmp_path):
    assert write_crash(tmp_path / "none", ValueError("x"), 0.0) is None
    path = write_crash(tmp_path, ValueError("x"), 0.0)
    assert path is not None
    assert write_crash(tmp_path, ValueError("x"), 0.0) is None


def test_run_app_is_awaited_by_the_command_line():
    assert asyncio.iscoroutinefunction(run_app)
