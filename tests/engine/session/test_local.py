"""What is special about the session in the engine's own process; the rest is in test_interface."""

from __future__ import annotations

from engine.events import events as ev
from engine.events.bus import EventBus
from engine.events.projection import Projection
from engine.session import LocalSession, Reply, View
from engine.testing import EPOCH, FakeClock, make_added


def make_session():
    clock = FakeClock()
    bus = EventBus(clock)
    projection = Projection()
    bus.listen(projection.apply, name="projection")

    async def handle(command):
        return Reply()

    return LocalSession(projection, bus, handle, clock), bus


async def test_subscriptions_carry_the_engines_events_too():
    session, bus = make_session()
    subscription = session.subscribe()
    bus.publish(make_added(1, "a"))
    session.tick()
    view, added = subscription.take()
    assert (view.parts, view.everything, view.time) == (("rows", "counts"), False, EPOCH)
    assert added.task_id == "a"


async def test_a_tick_without_news_tells_nothing():
    session, bus = make_session()
    subscription = session.subscribe()
    session.tick()
    session.tick()
    assert subscription.take() == []
    bus.publish(ev.QueuePaused())
    session.tick()
    assert [type(event) for event in subscription.take()] == [ev.ViewChanged, ev.QueuePaused]


async def test_events_of_viewers_do_not_count_as_events_of_the_run():
    session, bus = make_session()
    seen = []
    bus.listen(seen.extend, name="headless")
    session.subscribe()
    bus.publish(ev.QueuePaused())
    session.tick()
    bus.publish(ev.QueueResumed())
    assert [(type(event), event.seq) for event in seen] == [(ev.QueuePaused, 1), (ev.QueueResumed, 2)]


async def test_a_closed_subscription_is_forgotten():
    session, bus = make_session()
    session.subscribe().close()
    bus.publish(ev.QueuePaused())
    session.tick()
    assert session._subscriptions == []
    assert "0 subscriptions" in repr(bus)


async def test_what_is_looked_at_is_noted():
    session, _ = make_session()
    session.look(View(workers=("w1",)))
    assert session.view.workers == ("w1",)


async def test_the_last_changes_are_told_before_the_end():
    session, bus = make_session()
    async with session:
        subscription = session.subscribe()
        bus.publish(make_added(1, "a"))
    view = subscription.take()[0]
    assert "rows" in view.parts
    assert "connection" in view.parts


async def test_without_subscribers_nothing_is_worked_out(monkeypatch):
    session, bus = make_session()
    bus.publish(make_added(1, "a"))
    with monkeypatch.context() as patched:
        patched.setattr(session.projection, "changes", None)
        session.tick()
    subscription = session.subscribe()
    session.tick()
    assert subscription.take() == [], "what it could read before it subscribed is no news"
