"""An engine in the background: it announces itself, stays for viewers, and leaves by itself."""

import asyncio
import json
import os
import signal

import pytest

from engine.background import Linger, run_background
from engine.errors import EngineError, EngineRunningError, SettingsError, TaskFileError
from engine.foreground import reach
from engine.session.launch import RunRequest, launch_engine
from engine.session.protocol import AddTasks, StopEngine, View
from engine.testing import FakeClock, make_task


def write(folder, *tasks):
    (folder / "tasks.json").write_text(json.dumps(list(tasks)))
    return ("tasks.json",)


def shell(task_id, script="true", **more):
    return {"id": task_id, "kind": "shell", "shell": True, "command": script, **more}


def request_in(folder, **more):
    return RunRequest(folder=str(folder / ".mi4"), cwd=str(folder), **more)


async def until(condition, seconds=30):
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


# When it may leave


def test_linger_is_over_after_so_many_quiet_seconds():
    clock = FakeClock()
    linger = Linger(30, clock)
    assert not linger.is_over(needed=False)
    clock.advance(29.9)
    assert not linger.is_over(needed=False)
    clock.advance(0.2)
    assert linger.is_over(needed=False)


def test_being_needed_starts_the_wait_anew():
    clock = FakeClock()
    linger = Linger(30, clock)
    linger.is_over(needed=False)
    clock.advance(29)
    assert not linger.is_over(needed=True)
    clock.advance(29)
    assert not linger.is_over(needed=False)
    clock.advance(29)
    assert not linger.is_over(needed=False)
    clock.advance(1)
    assert linger.is_over(needed=False)


# In this process


async def test_it_leaves_once_nothing_is_left_and_nobody_looks(tmp_path):
    clock, replies = FakeClock(), []
    request = request_in(tmp_path, files=write(tmp_path, shell("a"), shell("b")))
    async with asyncio.TaskGroup() as group:
        engine = group.create_task(run_background(request, replies.append, log_to_file=False, clock=clock))
        await until(lambda: replies)
        assert (replies[0].pid, replies[0].accepted, replies[0].error) == (os.getpid(), 2, "")
        async with reach(request, view=View(), stored=False) as reached:
            await until(lambda: reached.session.projection.counts.get("succeeded") == 2)
            clock.advance(1000)
            await asyncio.sleep(0.6)
            assert not engine.done(), "it left although somebody was attached"
        await asyncio.sleep(0.6)
        assert not engine.done(), "it left before its time"
        clock.advance(30)
        async with asyncio.timeout(30):
            assert await engine == 0


async def test_work_that_comes_while_it_lingers_is_done(tmp_path):
    clock, replies = FakeClock(), []
    request = request_in(tmp_path, files=write(tmp_path, shell("a")))
    async with asyncio.TaskGroup() as group:
        engine = group.create_task(run_background(request, replies.append, log_to_file=False, clock=clock))
        await until(lambda: replies)
        async with reach(request, view=View(), stored=False) as reached:
            session = reached.session
            await until(lambda: session.projection.counts.get("succeeded") == 1)
            late = make_task("late", kind="shell", command=("false",))
            await session.ask(AddTasks(tasks=(late,)))
            await until(lambda: session.projection.counts.get("failed") == 1)
            await session.ask(StopEngine())
        async with asyncio.timeout(30):
            assert await engine == 1


async def test_stop_now_ends_it_in_the_middle(tmp_path):
    replies = []
    request = request_in(tmp_path, files=write(tmp_path, shell("long", "sleep 60")))
    async with asyncio.TaskGroup() as group:
        engine = group.create_task(run_background(request, replies.append, log_to_file=False))
        await until(lambda: replies)
        async with reach(request, view=View(), stored=False) as reached:
            await until(lambda: reached.session.projection.counts.get("running") == 1)
            await reached.session.ask(StopEngine(now=True))
            async with asyncio.timeout(30):
                await engine
    async with reach(request) as reached:
        assert reached.session.projection.row("long").state == "cancelled"


async def test_what_keeps_it_from_starting_is_raised_and_not_announced(tmp_path):
    replies = []
    with pytest.raises(TaskFileError):
        await run_background(request_in(tmp_path, files=("missing.json",)), replies.append, log_to_file=False)
    with pytest.raises(SettingsError):
        await run_background(
            request_in(tmp_path, overrides={"orchestration.max_agents": "x"}), replies.append, log_to_file=False
        )
    assert replies == []
    assert list(tmp_path.iterdir()) == []


# As a process of its own


@pytest.fixture
def launched():
    """Engines to be ended after the test."""
    engines = []
    yield engines
    for engine in engines:
        if engine.process.poll() is None:
            engine.process.kill()
        engine.process.wait()


async def test_a_real_engine_works_and_leaves(tmp_path, launched):
    request = request_in(tmp_path, files=write(tmp_path, shell("a", "sleep 0.2"), shell("b")), linger=0.5)
    engine = launch_engine(request)
    launched.append(engine)
    assert engine.reply.accepted == 2
    async with reach(request, view=View(), stored=False) as reached:
        assert reached.session.projection.run.pid == engine.process.pid
        await until(lambda: reached.session.projection.counts.get("succeeded") == 2)
    await until(lambda: engine.process.poll() is not None)
    assert engine.process.returncode == 0
    log = tmp_path / ".mi4" / "engine.log"
    assert log.stat().st_mode & 0o777 == 0o600


async def test_it_survives_a_hang_up_of_its_starter_and_ends_on_term(tmp_path, launched):
    engine = launch_engine(request_in(tmp_path, files=write(tmp_path, shell("a", "sleep 0.5"))))
    launched.append(engine)
    assert os.getsid(engine.process.pid) == engine.process.pid
    engine.process.send_signal(signal.SIGTERM)
    await until(lambda: engine.process.poll() is not None)
    assert engine.process.returncode == 143
    async with reach(request_in(tmp_path)) as reached:
        assert reached.session.projection.row("a").state in ("succeeded", "queued")


def test_a_bad_file_comes_back_before_anything_exists(tmp_path):
    with pytest.raises(TaskFileError, match=r"missing\.json: no such file"):
        launch_engine(request_in(tmp_path, files=("missing.json",)))
    assert list(tmp_path.iterdir()) == []


def test_a_second_one_is_refused(tmp_path, launched):
    request = request_in(tmp_path, files=write(tmp_path, shell("a", "sleep 5")))
    launched.append(launch_engine(request))
    with pytest.raises(EngineRunningError, match=str(launched[0].process.pid)):
        launch_engine(request)


def test_a_large_log_is_set_aside(tmp_path, launched):
    (tmp_path / ".mi4").mkdir(mode=0o700)
    log = tmp_path / ".mi4" / "engine.log"
    log.write_bytes(b"x" * (9 << 20))
    launched.append(launch_engine(request_in(tmp_path, files=write(tmp_path, shell("a")), linger=0.0)))
    launched[0].process.wait(30)
    assert log.stat().st_size < 1 << 20
    assert log.with_name("engine.log.1").stat().st_size == 9 << 20


def test_a_planted_link_is_not_written_through(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / ".mi4").mkdir(mode=0o700)
    (tmp_path / ".mi4" / "engine.log").symlink_to(victim)
    with pytest.raises(EngineError, match="not a plain file"):
        launch_engine(request_in(tmp_path, files=write(tmp_path, shell("a"))))
    assert victim.read_text() == "precious"
