"""What is special about the client; what it shares with the local session is in test_interface."""

from __future__ import annotations

import asyncio

import pytest

from engine.errors import ProtocolError, SessionLostError
from engine.events import events as ev
from engine.events.projection import MAX_ROWS, Frame
from engine.session import AddTasks, Client, Explain, StopEngine, View, attach
from engine.session import client as client_module
from engine.session.lock import LockInfo
from engine.session.protocol import Goodbye, Update
from engine.session.wire import encode
from engine.testing import EPOCH, FakeClock, make_added, make_task, run_of


@pytest.fixture
async def impostor(tmp_path):
    """Listens like an engine and answers every connection with the bytes it is given."""
    servers = []

    async def listen(*answers, close=False):
        async def serve(reader, writer):
            await reader.read(1)
            writer.write(b"".join(answers))
            if close:
                writer.close()
            while await reader.read(65536):
                pass
            writer.close()

        path = tmp_path / "impostor.sock"
        servers.append(await asyncio.start_unix_server(serve, str(path)))
        return path

    yield listen
    for server in servers:
        server.close()


@pytest.fixture
def locked(monkeypatch, engine):
    """Makes the lock file of any folder name the engine's socket."""
    info = LockInfo(pid=1, start_time=1, boot_id="b", run_id="r", socket=str(engine.path))
    monkeypatch.setattr(client_module, "read_lock", lambda folder: info)


class TestAttach:
    async def test_the_socket_is_found_by_the_lock(self, engine, locked, tmp_path):
        engine.bus.publish(*run_of("w1"), make_added(1, "a"))
        async with await attach(tmp_path) as client:
            assert client.projection.row("a").state == "queued"
            assert repr(client) == "<Client connected, <Projection seq=3, 1 tasks, 1 workers, running>>"
        assert repr(client).startswith("<Client lost")

    async def test_it_returns_with_all_rows_even_if_they_come_in_several_frames(self, engine, locked, tmp_path):
        engine.bus.publish(*(make_added(key, f"t{key}") for key in range(MAX_ROWS + 10)))
        async with await attach(tmp_path) as client:
            assert len(client.projection.rows) == MAX_ROWS + 10

    async def test_without_a_view_it_is_for_commands_only(self, engine, locked, tmp_path):
        engine.bus.publish(make_added(1, "a"))
        async with await attach(tmp_path, None) as client:
            assert (await client.ask(Explain(id="a"))).message == "a"
            assert client.projection.rows == {}

    @pytest.mark.parametrize("info", [None, LockInfo(pid=1, start_time=1, boot_id="b", run_id="r", socket="")])
    async def test_no_engine(self, monkeypatch, tmp_path, info):
        monkeypatch.setattr(client_module, "read_lock", lambda folder: info)
        with pytest.raises(SessionLostError, match="no engine runs on"):
            await attach(tmp_path)

    async def test_a_socket_that_is_not_there(self, tmp_path):
        with pytest.raises(SessionLostError, match="no engine answers at"):
            await Client().connect(tmp_path / "none.sock", View())

    async def test_an_engine_that_hangs_is_given_up(self, impostor, monkeypatch, tmp_path):
        path = await impostor()
        info = LockInfo(pid=77, start_time=1, boot_id="b", run_id="r", socket=str(path))
        monkeypatch.setattr(client_module, "read_lock", lambda folder: info)
        monkeypatch.setattr(client_module, "ANSWERS_WITHIN", 0.05)
        with pytest.raises(SessionLostError, match=r"process 77\) does not answer"):
            await attach(tmp_path)

    async def test_an_engine_of_another_user_is_not_trusted(self, engine, monkeypatch):
        monkeypatch.setattr(client_module, "is_ours", lambda peer: False)
        with pytest.raises(SessionLostError, match="belongs to another user"):
            await engine.client()

    async def test_a_refusal_keeps_its_sentence(self, impostor):
        path = await impostor(encode(Goodbye(reason="too many clients")))
        with pytest.raises(SessionLostError, match="too many clients"):
            await Client().connect(path, View())

    @pytest.mark.parametrize(
        "garbage",
        [
            b"\xff\xff\xff\xff",
            b"\x00\x00\x00\x01\xc1",
            encode(Update(frame=Frame(seq=1, time=1.0, run=None)))[:-9] + b"\xc1" * 9,
        ],
    )
    async def test_a_server_that_talks_nonsense_is_left(self, impostor, garbage):
        with pytest.raises(SessionLostError, match="do not understand each other"):
            await Client().connect(await impostor(garbage), View())


class TestLoss:
    async def test_a_command_under_way_raises_when_the_connection_ends(self, engine, wait_until):
        client = await engine.client()
        subscription = client.subscribe()
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(_outcome(client.ask(StopEngine()))) for _ in range(3)]
            await wait_until(lambda: len(engine.commands) == 3)
            for connection in list(engine.server._connections):
                connection.abort()
        assert [type(task.result()) for task in asked] == [SessionLostError] * 3
        assert not client.connected
        assert "the connection to the engine ended" in client.lost_because
        lost = [
            event for event in subscription.take() if isinstance(event, ev.ViewChanged) and "connection" in event.parts
        ]
        assert len(lost) == 1
        with pytest.raises(SessionLostError, match="ended"):
            await client.ask(Explain(id="a"))

    async def test_the_projection_stays_as_it_was(self, engine, wait_until):
        engine.bus.publish(make_added(1, "a"))
        client = await engine.client()
        await engine.server.aclose("stopped by the user")
        await wait_until(lambda: not client.connected)
        assert client.projection.row("a").state == "queued"
        assert client.lost_because == "stopped by the user"
        client.look(View())
        await client.aclose()
        assert client.lost_because == "stopped by the user"

    async def test_a_command_that_cannot_be_encoded_is_the_askers_fault(self, engine):
        async with await engine.client() as client:
            with pytest.raises(ProtocolError, match="cannot send Ask"):
                await client.ask(AddTasks(tasks=(make_task("a", meta={"x": object()}),)))
            assert (await client.ask(Explain(id="a"))).ok
            assert client._answers == {}


class TestTime:
    async def test_it_is_the_engines_and_goes_on_between_frames(self, impostor):
        clock = FakeClock()
        client = Client(clock)
        assert client.now() == EPOCH
        await client.connect(await impostor(encode(Update(frame=Frame(seq=1, time=500.0, full=True)))), View())
        assert client.now() == 500.0
        clock.advance(3)
        clock.jump(-1000)
        assert client.now() == 503.0
        await client.aclose()

    async def test_a_frame_without_news_sets_only_the_time(self, impostor, wait_until):
        empty = encode(Update(frame=Frame(seq=2, time=600.0)))
        path = await impostor(encode(Update(frame=Frame(seq=1, time=500.0, full=True))), empty)
        client = Client(FakeClock())
        await client.connect(path, View())
        subscription = client.subscribe()
        await wait_until(lambda: client.now() == 600.0)
        assert subscription.take() == []
        await client.aclose()


async def test_the_end_of_a_run_is_told_once_for_each_end(engine, wait_until):
    client = await engine.client()
    subscription = client.subscribe()
    ends = [ev.RunFinished(succeeded=1), ev.QueuePaused(), make_added(1, "a"), ev.RunFinished(succeeded=2)]
    for event in ends:
        engine.bus.publish(event)
        await wait_until(lambda: client.projection.seq == engine.bus.seq)
    told = [event.succeeded for event in subscription.take() if isinstance(event, ev.RunFinished)]
    assert told == [1, 2]
    await client.aclose()


async def _outcome(awaitable):
    try:
        return await awaitable
    except SessionLostError as error:
        return error
