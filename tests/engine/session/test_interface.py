"""A viewer neither knows nor cares which side of the socket it is on: the same stories, told in the process and by a client."""

from __future__ import annotations

import asyncio
import inspect

import pytest

from engine.errors import SessionLostError
from engine.events import events as ev
from engine.session import Client, Explain, Hold, LocalSession, Pause, Resume, Session, StopEngine, View
from engine.testing import FakeSession, life_of, make_added, run_of

pytestmark = pytest.mark.parametrize("kind", ["local", "client"])


@pytest.fixture
async def session(engine, kind):
    engine.bus.publish(*run_of("w1"))
    async with engine.session(kind) as session:
        yield session


async def test_it_has_everything_that_a_session_has(session, kind):
    def takes_session(given: Session) -> set[str]:
        return {name for name in dir(Session) if not name.startswith("_") and not hasattr(given, name)}

    assert takes_session(session) == set()
    for name in ("now", "subscribe", "look", "ask", "aclose"):
        assert inspect.signature(getattr(type(session), name)) == inspect.signature(getattr(Session, name)), name


async def test_it_shows_what_was_there_before(session):
    assert session.connected
    assert session.projection.run.run_id == "run-1"
    assert list(session.projection.workers) == ["w1"]


async def test_what_happens_becomes_visible_and_is_told(engine, session):
    with session.subscribe() as subscription:
        engine.bus.publish(*life_of(1, "a"))
        async with asyncio.timeout(30):
            async for event in subscription:
                if isinstance(event, ev.ViewChanged) and (event.everything or 1 in event.keys):
                    break
        assert session.projection.row("a").state == "succeeded"
        assert session.projection.counts["succeeded"] == 1


async def test_a_burst_is_told_in_few_events(engine, session, wait_until):
    subscription = session.subscribe()
    await asyncio.sleep(0)
    for number in range(1000):
        engine.bus.publish(make_added(number, f"t{number}"))
        await asyncio.sleep(0)
    await wait_until(lambda: len(session.projection.rows) == 1000)
    engine.bus.publish(make_added(1001, "last"))
    told = 0
    async with asyncio.timeout(30):
        while 1001 not in session.projection.rows or told == 0:
            told += isinstance(await anext(subscription), ev.ViewChanged)
    assert told < 100


async def test_the_end_of_the_run_and_findings_are_told(engine, session):
    finding = {"bottleneck_type": "high_failure_rate"}
    with session.subscribe() as subscription:
        engine.bus.publish(ev.FindingsChanged(findings=(finding,)))
        engine.bus.publish(ev.RunFinished(succeeded=3, duration_s=1.5))
        seen = {}
        async with asyncio.timeout(30):
            async for event in subscription:
                seen[type(event)] = event
                if {ev.FindingsChanged, ev.RunFinished} <= set(seen):
                    break
    assert seen[ev.FindingsChanged].findings == (finding,)
    assert (seen[ev.RunFinished].succeeded, seen[ev.RunFinished].duration_s) == (3, 1.5)


async def test_a_command_is_carried_out_and_answered(engine, session):
    reply = await session.ask(Explain(id="task-7"))
    assert (reply.ok, reply.message, reply.data) == (True, "task-7", {"id": "task-7", "raw": b"\x00\xff"})
    assert engine.commands == [Explain(id="task-7")]


async def test_a_refusal_is_an_answer(session):
    reply = await session.ask(Pause())
    assert (reply.ok, reply.message) == (False, "nothing can be paused here")


async def test_a_fault_of_the_engine_is_one_line_without_its_inside(session, caplog):
    reply = await session.ask(Resume())
    assert not reply.ok
    assert reply.message == "the engine could not carry out Resume; its log says why"
    assert "a fault with a secret inside" in caplog.text


async def test_commands_at_the_same_time_get_their_own_answers(engine, session):
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(session.ask(Explain(id=str(number)))) for number in range(200)]
    assert [task.result().message for task in asked] == [str(number) for number in range(200)]
    assert [command.id for command in engine.commands] == [str(number) for number in range(200)]


async def test_a_command_that_is_given_up_harms_nothing(session, wait_until, engine):
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(session.ask(StopEngine()))
        await wait_until(lambda: engine.commands)
        asked.cancel()
    assert (await session.ask(Hold(ids=("a",)))).ok


async def test_looking_elsewhere_keeps_the_projection_right(engine, session, wait_until):
    session.look(View(workers=()))
    engine.bus.publish(*life_of(1, "a"))
    await wait_until(lambda: session.projection.counts["succeeded"] == 1)
    session.look(View())
    engine.bus.publish(*life_of(2, "b"))
    await wait_until(lambda: session.projection.counts["succeeded"] == 2)


async def test_now_is_the_time_of_the_engine(engine, session):
    assert abs(session.now() - engine.clock.time()) < 60


async def test_closing_ends_subscriptions_and_refuses_commands(session):
    subscription = session.subscribe()
    await session.aclose()
    await session.aclose()
    assert not session.connected
    events = [event async for event in subscription]
    assert any(isinstance(event, ev.ViewChanged) and "connection" in event.parts for event in events)
    assert [event async for event in session.subscribe()] == []
    with pytest.raises(SessionLostError):
        await session.ask(Explain(id="a"))
    session.look(View())


async def test_the_fake_of_the_test_kit_is_a_session_as_well(kind, engine):
    fake: Session = FakeSession()
    real: list[type[Session]] = [LocalSession, Client]
    assert all(hasattr(fake, name) for name in dir(real[0]) if not name.startswith("_"))
