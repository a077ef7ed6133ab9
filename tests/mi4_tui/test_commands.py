"""Orders: what the engine is asked, what can be undone, what waits for confirmation."""

import asyncio

import pytest

from engine.session import Move, Reply, Reprioritise, RestoreOrder
from mi4_tui.commands import UNDO_STEPS, Orders, clamp_priority


@pytest.fixture
def row(session):
    return session.projection.row("40")


async def test_a_change_and_its_undo(session, row):
    orders = Orders(session)
    before = (row.priority, row.manual)
    assert (await orders.change_priority([row], 100)).ok
    assert session.commands[-1] == Reprioritise(ids=("40",), delta=100)
    assert orders.undo_steps == 1
    assert (await orders.undo()).ok
    assert session.commands[-1] == RestoreOrder(values={"40": before})
    row = session.projection.row("40")
    assert (row.priority, row.manual) == before
    assert orders.undo_steps == 0


async def test_nothing_to_undo_asks_nothing(session):
    reply = await Orders(session).undo()
    assert not reply.ok
    assert session.commands == []


async def test_an_undo_that_is_refused_can_be_tried_again(session, row):
    orders = Orders(session)
    await orders.move([row], "top")
    session.replies[RestoreOrder] = Reply(ok=False, message="no")
    assert not (await orders.undo()).ok
    assert orders.undo_steps == 1


async def test_a_refused_change_is_no_undo_step(session, row):
    session.replies[Move] = Reply(ok=False, message="it has ended")
    orders = Orders(session)
    assert (await orders.move([row], "top")).message == "it has ended"
    assert orders.undo_steps == 0
    assert orders.pending == {}


async def test_pending_until_every_reply_is_here(session, row):
    seen = []
    gate = asyncio.Event()
    ask = session.ask

    async def slow(command):
        await gate.wait()
        return await ask(command)

    session.ask = slow
    orders = Orders(session, lambda: seen.append(dict(orders.pending)))
    async with asyncio.TaskGroup() as group:
        group.create_task(orders.change_priority([row], -100))
        group.create_task(orders.change_priority([row], -100))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert orders.pending == {"40": clamp_priority(row.priority - 200)}
        gate.set()
    assert orders.pending == {}
    assert seen[-1] == {}


async def test_a_lost_engine_is_a_refusal(session, row):
    session.lose_engine()
    reply = await Orders(session).change_priority([row], 100)
    assert not reply.ok
    assert "mi4-tui attach" in reply.message


async def test_reset_is_one_command_that_can_be_undone(session, row):
    orders = Orders(session)
    await orders.reset([row])
    assert session.commands == [RestoreOrder(values={"40": (200.0, 0.0)})]
    assert orders.undo_steps == 1


async def test_old_undo_steps_are_forgotten(session, row):
    orders = Orders(session)
    for _ in range(UNDO_STEPS + 5):
        await orders.move([row], "top")
    assert orders.undo_steps == UNDO_STEPS


@pytest.mark.parametrize(("asked", "allowed"), [(500, 400), (50, 100), (250, 250)])
def test_priorities_stay_in_range(asked, allowed):
    assert clamp_priority(asked) == allowed
