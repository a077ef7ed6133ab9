"""The bus carries events in one order to all, and nothing that watches can slow or break it."""

from __future__ import annotations

import asyncio
import logging

import pytest

from engine.events.bus import MAX_KEYS, EventBus, Subscription, merge_views
from engine.events.events import QueuePaused, QueueResumed, RunFinished, TaskStarted, ViewChanged
from engine.testing import EPOCH, EventRecorder, FakeClock


@pytest.fixture
def bus():
    return EventBus(FakeClock())


def test_events_are_numbered_and_timed(bus):
    recorder = EventRecorder(bus)
    bus.publish(QueuePaused(), QueueResumed())
    bus.publish(QueuePaused())
    assert [(event.seq, event.time) for event in recorder.events] == [(1, EPOCH), (2, EPOCH), (3, EPOCH)]
    assert bus.seq == 3


def test_a_time_that_an_event_brings_is_kept(bus):
    recorder = EventRecorder(bus)
    bus.publish(TaskStarted(task_id="a", key=1, worker="w1", attempt=1, time=12.5))
    assert recorder.events[0].time == 12.5


def test_publishing_nothing_calls_nobody(bus):
    calls = []
    bus.listen(calls.append, name="counter")
    bus.publish()
    assert calls == []


def test_one_publish_is_one_call(bus):
    calls = []
    bus.listen(calls.append, name="counter")
    bus.publish(QueuePaused(), QueueResumed())
    assert [len(batch) for batch in calls] == [2]


def test_a_failing_listener_is_detached_and_logged_and_the_others_go_on(bus, caplog):
    seen = []

    def fail(events):
        raise RuntimeError("broken observer")

    bus.listen(fail, name="the broken one")
    bus.listen(seen.extend, name="the good one")
    with caplog.at_level(logging.ERROR, "mi4.engine.events.bus"):
        bus.publish(QueuePaused())
        bus.publish(QueueResumed())
    assert [event.seq for event in seen] == [1, 2]
    assert bus.listeners == ("the good one",)
    assert [record.getMessage() for record in caplog.records] == ["the observer the broken one failed and is detached"]


def test_a_listener_that_detached_hears_no_more(bus):
    recorder = EventRecorder(bus)
    bus.publish(QueuePaused())
    recorder.detach()
    recorder.detach()
    bus.publish(QueueResumed())
    assert recorder.names() == ["queue_paused"]


def test_a_listener_may_detach_another_during_a_batch(bus):
    second = []
    bus.listen(lambda events: detach(), name="first")
    detach = bus.listen(second.extend, name="second")
    bus.publish(QueuePaused())
    assert second == []


def test_what_a_listener_publishes_comes_after_the_batch_for_all(bus):
    def answer(events):
        if any(isinstance(event, QueuePaused) for event in events):
            bus.publish(QueueResumed())

    bus.listen(answer, name="answers")
    recorder = EventRecorder(bus)
    bus.publish(QueuePaused(), QueuePaused())
    assert recorder.names() == ["queue_paused", "queue_paused", "queue_resumed"]
    assert [event.seq for event in recorder.events] == [1, 2, 3]


async def test_a_subscription_yields_what_is_published_after_it(bus):
    bus.publish(QueuePaused())
    with bus.subscribe() as subscription:
        bus.publish(QueueResumed(), RunFinished())
        assert [type(await anext(subscription)) for _ in range(2)] == [QueueResumed, RunFinished]


async def test_a_waiting_consumer_is_woken(bus):
    seen = []

    async def consume():
        async with bus.subscribe() as subscription:
            async for event in subscription:
                seen.append(event.seq)
                if len(seen) == 2:
                    return

    async with asyncio.TaskGroup() as group:
        group.create_task(consume())
        await asyncio.sleep(0)
        bus.publish(QueuePaused())
        await asyncio.sleep(0)
        bus.publish(QueueResumed())
    assert seen == [1, 2]
    assert "0 subscriptions" in repr(bus)


async def test_a_full_subscription_drops_the_oldest_and_counts_them(bus):
    subscription = bus.subscribe(maxsize=3)
    for _ in range(10):
        bus.publish(QueuePaused())
    assert subscription.dropped == 7
    assert [event.seq for event in subscription.take()] == [8, 9, 10]
    bus.publish(*(QueuePaused() for _ in range(5)))
    assert subscription.dropped == 9
    assert len(subscription) == 3


async def test_a_closed_subscription_yields_what_waited_and_ends(bus):
    subscription = bus.subscribe()
    bus.publish(QueuePaused())
    subscription.close()
    subscription.close()
    bus.publish(QueueResumed())
    assert [event.seq async for event in subscription] == [1]
    assert repr(subscription) == "<Subscription closed, 0 waiting, 0 dropped>"


async def test_closing_wakes_a_consumer_that_waits(bus):
    subscription = bus.subscribe()

    async def consume():
        return [event async for event in subscription]

    async with asyncio.TaskGroup() as group:
        consumer = group.create_task(consume())
        await asyncio.sleep(0)
        bus.close()
    assert consumer.result() == []


async def test_view_changes_are_merged_and_never_dropped():
    subscription = Subscription(maxsize=1)
    subscription.offer([ViewChanged(seq=1, keys=(1, 2), parts=("rows",))])
    subscription.offer([QueuePaused(seq=2), QueuePaused(seq=3)])
    subscription.offer([ViewChanged(seq=4, keys=(2, 3), parts=("rows", "counts"))])
    view, event = subscription.take()
    assert view == ViewChanged(seq=4, keys=(1, 2, 3), parts=("rows", "counts"))
    assert (event.seq, subscription.dropped) == (3, 1)


def test_merging_too_many_keys_means_everything():
    many = ViewChanged(keys=tuple(range(MAX_KEYS)), parts=("rows",))
    assert not merge_views(many, ViewChanged(keys=(5,))).everything
    merged = merge_views(many, ViewChanged(keys=(-1,), parts=("run",)))
    assert (merged.everything, merged.keys, merged.parts) == (True, (), ("rows", "run"))
    assert merge_views(merged, ViewChanged(keys=(1,))).everything


def test_a_subscription_holds_at_least_one():
    with pytest.raises(ValueError, match="at least 1"):
        Subscription(0)
