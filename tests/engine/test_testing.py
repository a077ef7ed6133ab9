"""The test kit does what it says, for the tests of others rest on it."""

from __future__ import annotations

import pytest

import engine.testing
from engine.errors import SessionLostError
from engine.events import events as ev
from engine.events.bus import EventBus
from engine.session import Hold, Pause, Reply, Reprioritise, Session
from engine.testing import EPOCH, EventRecorder, FakeClock, FakeSession, life_of, make_added, make_task, run_of


def test_the_clock_moves_only_by_hand():
    clock = FakeClock()
    assert (clock.time(), clock.monotonic()) == (EPOCH, 0.0)
    clock.advance(2.5)
    assert (clock.time(), clock.monotonic()) == (EPOCH + 2.5, 2.5)
    clock.jump(-10)
    assert (clock.time(), clock.monotonic()) == (EPOCH - 7.5, 2.5)
    assert FakeClock(5.0).time() == 5.0


def test_the_recorder_finds_what_was_published():
    bus = EventBus(FakeClock())
    recorder = EventRecorder(bus)
    bus.publish(*run_of("w1"), *life_of(1, "a"), make_added(2, "b"))
    assert recorder.names()[:3] == ["run_started", "worker_started", "task_added"]
    assert [event.key for event in recorder.of(ev.TaskAdded)] == [1, 2]
    assert recorder.about("a") == ["task_added", "task_queued", "task_leased", "task_started", "task_finished"]
    recorder.clear()
    assert recorder.events == []
    recorder.detach()
    bus.publish(ev.QueuePaused())
    assert recorder.events == []


def test_tasks_need_nothing_of_the_machine_unless_told():
    assert (make_task().id, make_task().kind) == ("task", "simulated")
    assert make_task("a", kind="shell", command=("true",)).command == ("true",)


def test_an_added_task_waits_for_its_dependencies():
    assert make_added(1, "a").state == "queued"
    added = make_added(2, make_task("b", dependencies=("a",)), generation=3)
    assert (added.state, added.waits_for, added.generation) == ("pending", ("a",), 3)


def test_a_life_can_end_as_it_likes():
    assert life_of(1, "a", state="failed")[-1].state == "failed"


async def test_a_fake_session_shows_what_a_test_lets_happen():
    session = FakeSession(*run_of("w1"), make_added(1, "a"))
    as_session: Session = session
    assert as_session.projection.row("a").state == "queued"
    subscription = session.subscribe()
    session.publish(ev.TaskHeld(task_id="a", key=1, cause="user"))
    view, held = subscription.take()
    assert (view.keys, view.parts) == ((1,), ("rows", "counts"))
    assert held.cause == "user"
    session.show_metrics(cpu_usage=12.5)
    assert session.projection.metrics == {"cpu_usage": 12.5}
    assert subscription.take()[0].parts == ("metrics",)


async def test_a_fake_session_has_its_own_time():
    session = FakeSession(clock=FakeClock(100.0))
    session.clock.advance(5)
    assert session.now() == 105.0


async def test_a_fake_session_records_commands_and_answers_as_told():
    session = FakeSession()
    session.replies[Hold] = Reply(ok=False, message="no")
    session.replies[Reprioritise] = lambda command: Reply(message=f"moved {command.ids[0]}")
    assert await session.ask(Pause()) == Reply()
    assert (await session.ask(Hold(ids=("a",)))).message == "no"
    assert (await session.ask(Reprioritise(ids=("a",), delta=50.0))).message == "moved a"
    assert session.commands == [Pause(), Hold(ids=("a",)), Reprioritise(ids=("a",), delta=50.0)]


async def test_a_fake_session_can_lose_its_engine():
    session = FakeSession()
    subscription = session.subscribe()
    session.lose_engine()
    assert not session.connected
    assert [event.parts for event in subscription.take()] == [("connection",)]
    assert not subscription.closed
    with pytest.raises(SessionLostError):
        await session.ask(Pause())


async def test_closing_a_fake_session_ends_its_subscriptions():
    session = FakeSession()
    subscription = session.subscribe()
    await session.aclose()
    assert subscription.closed


def test_the_names_of_the_kit_are_exact():
    own = {
        name
        for name, value in vars(engine.testing).items()
        if getattr(value, "__module__", "") == "engine.testing" and not name.startswith("_")
    }
    assert own - {"E"} == set(engine.testing.__all__) - {"EPOCH"}
