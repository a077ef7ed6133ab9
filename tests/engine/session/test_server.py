"""The server serves good clients, and neither bad, slow, stopped nor dead ones reach the engine."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import stat
import sys

import msgspec
import pytest

from engine.errors import SessionLostError, StateFolderError
from engine.events import events as ev
from engine.events.projection import Projection
from engine.session import Explain, FindLog, Reply, StopEngine, View
from engine.session import connection as connection_module
from engine.session import server as server_module
from engine.session.connection import HEARTBEAT, STUCK_AFTER
from engine.session.protocol import Ask, Attach, Goodbye, SetView, Update
from engine.session.wire import FrameSplitter, decode_from_server, encode
from engine.testing import FakeClock, life_of, make_added, make_task, run_of
from engine.workers.protocol import MAX_FRAME

CHILD = """
import socket, sys
from engine.session.protocol import Attach
from engine.session.wire import FrameSplitter, decode_from_server, encode
peer = socket.socket(socket.AF_UNIX)
peer.connect(sys.argv[1])
peer.sendall(encode(Attach()))
splitter = FrameSplitter()
while data := peer.recv(65536):
    for body in splitter.feed(data):
        message = decode_from_server(body)
        frame = getattr(message, "frame", None)
        rows = 0 if frame is None or frame.rows is None else len(frame.rows)
        print(type(message).__name__, frame.seq if frame else "", rows, flush=True)
"""


class Raw:
    """A client made by hand, which reads only when it is told to."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self._splitter = FrameSplitter()
        self._messages = []

    @classmethod
    async def connect(cls, path):
        return cls(*await asyncio.open_unix_connection(str(path), limit=1024))

    def send(self, *messages):
        self.writer.write(b"".join(encode(message) for message in messages))

    async def receive(self):
        """The next message, or None at the end."""
        async with asyncio.timeout(30):
            while not self._messages:
                data = await self.reader.read(65536)
                if not data:
                    return None
                self._messages += [decode_from_server(body) for body in self._splitter.feed(data)]
        return self._messages.pop(0)

    async def rest(self):
        """All messages up to the end."""
        messages = []
        while (message := await self.receive()) is not None:
            messages.append(message)
        return messages

    def close(self):
        self.writer.close()


@pytest.fixture
async def raw(engine):
    """Connects raw clients to the engine, and closes them at the end."""
    clients = []

    async def connect(*messages):
        client = await Raw.connect(engine.path)
        clients.append(client)
        client.send(*messages)
        return client

    yield connect
    for client in clients:
        client.close()


@pytest.fixture
def tick_engine(make_engine):
    """An engine whose frames are sent by hand, on a clock that is set by hand."""
    engine = make_engine(FakeClock())

    def tick(seconds=0.1):
        engine.clock.advance(seconds)
        engine.server.tick()

    engine.tick = tick
    return engine


def flood(engine, rounds=1):
    """Change 2,000 rows with long texts, more than a socket's buffer takes."""
    for number in range(rounds):
        added = [make_added(key, make_task(f"t{key}", title=f"{number} " + "x" * 400)) for key in range(2000)]
        engine.bus.publish(*added)


class TestSocket:
    async def test_only_the_user_can_open_it(self, engine):
        mode = engine.path.lstat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o600

    async def test_it_is_gone_when_the_server_is(self, engine):
        await engine.server.aclose()
        assert not engine.path.exists()
        await engine.server.aclose()

    async def test_a_stale_one_is_replaced(self, make_engine):
        engine = make_engine()
        stale = socket.socket(socket.AF_UNIX)
        stale.bind(str(engine.path))
        stale.close()
        await engine.server.start()
        async with await engine.client() as client:
            assert client.connected
        await engine.server.aclose()

    async def test_a_file_in_its_place_is_kept_and_named(self, make_engine):
        engine = make_engine()
        engine.path.write_text("mine")
        with pytest.raises(StateFolderError, match="in the way of the engine's socket"):
            await engine.server.start()
        assert engine.path.read_text() == "mine"

    async def test_a_folder_that_cannot_be_written_is_one_line(self, tmp_path, make_engine):
        engine = make_engine()
        engine.server.socket_path = tmp_path / "missing" / "engine.sock"
        with pytest.raises(StateFolderError, match=r"cannot listen on .*missing"):
            await engine.server.start()

    async def test_the_socket_of_a_successor_is_left_alone(self, make_engine):
        first, second = make_engine(), make_engine()
        await first.server.start()
        await second.server.start()
        await first.server.aclose()
        async with await second.client() as client:
            assert client.connected
        await second.server.aclose()

    async def test_another_user_is_refused(self, engine, raw, monkeypatch):
        monkeypatch.setattr(connection_module, "is_ours", lambda peer: False)
        client = await raw()
        assert await client.rest() == []
        assert engine.server.clients == 0
        assert engine.clients_seen == []


class TestBadClients:
    @pytest.mark.parametrize(
        "garbage",
        [
            b"\xff\xff\xff\xff",
            b"\x00\x00\x00\x04abcd",
            b"GET / HTTP/1.1\r\n\r\n",
            b"\x00\x00\x00\x00",
            (200_000).to_bytes(4) + b"\x91" * 200_000,
            encode(Attach())[:4] + b"\xc1" * (len(encode(Attach())) - 4),
            (MAX_FRAME + 1).to_bytes(4),
        ],
        ids=["length", "type", "http", "empty", "nesting", "msgpack", "too long"],
    )
    async def test_garbage_drops_the_client_alone(self, engine, raw, garbage):
        async with await engine.client() as good:
            bad = await raw()
            bad.writer.write(garbage)
            (goodbye,) = await bad.rest()
            assert isinstance(goodbye, Goodbye)
            assert engine.server.dropped == 1
            assert (await good.ask(Explain(id="a"))).ok
            assert engine.server.clients == 1

    @pytest.mark.parametrize(
        ("messages", "reason"),
        [
            ([Ask(number=1, command=Explain(id="a"))], "the first message of a client is attach"),
            ([SetView(view=View())], "the first message of a client is attach"),
            ([Attach(view=None), Attach(view=None)], "attach came twice"),
        ],
    )
    async def test_messages_out_of_order(self, engine, raw, messages, reason):
        assert (await (await raw(*messages)).rest())[-1] == Goodbye(reason=reason)
        assert engine.commands == []

    async def test_what_follows_a_bad_message_is_not_carried_out(self, engine, raw):
        client = await raw(Attach(view=None))
        client.writer.write(b"\x00\x00\x00\x01\xc1" + encode(Ask(number=1, command=Explain(id="a"))))
        await client.rest()
        assert engine.commands == []

    async def test_nor_is_what_it_sends_after_its_good_bye(self, engine, raw, wait_until):
        engine.server.farewell = 30.0
        client = await raw(Attach(view=None))
        client.writer.write(b"\x00\x00\x00\x01\xc1")
        assert isinstance(await client.receive(), Goodbye)
        client.send(Ask(number=1, command=Explain(id="a")))
        client.writer.write_eof()
        await wait_until(lambda: not engine.server._connections)
        assert engine.commands == []
        assert engine.server.dropped == 1

    async def test_another_version_is_told_what_to_do(self, engine, raw):
        (goodbye,) = await (await raw(Attach(version=99))).rest()
        assert "version 1 of the session protocol and this program 99" in goodbye.reason
        assert "stop the engine" in goodbye.reason
        assert engine.clients_seen == []

    async def test_a_connection_that_says_nothing_is_closed(self, tick_engine):
        await tick_engine.server.start()
        silent = await Raw.connect(tick_engine.path)
        await asyncio.sleep(0.02)
        tick_engine.tick(connection_module.ATTACH_WITHIN + 1)
        assert await silent.rest() == [Goodbye(reason="no attach message came")]
        silent.close()
        await tick_engine.server.aclose()

    async def test_too_many_are_refused(self, engine, raw, monkeypatch):
        monkeypatch.setattr(server_module, "MAX_CLIENTS", 1)
        first = await raw(Attach())
        await first.receive()
        assert await (await raw(Attach())).rest() == [Goodbye(reason="1 clients are attached already")]

    @pytest.mark.parametrize("interval", [-1.0, float("nan"), 0.0])
    async def test_a_silly_interval_is_the_shortest(self, engine, raw, interval):
        client = await raw(Attach(view=View(interval=interval)))
        assert (await client.receive()).frame.full
        engine.bus.publish(make_added(1, "a"))
        assert len((await client.receive()).frame.rows) == 1

    async def test_a_reply_that_cannot_be_sent_is_a_refusal(self, engine):
        async def handle(command):
            return Reply(data={"value": object()})

        engine.server._handle = handle
        async with await engine.client() as client:
            reply = await client.ask(FindLog(id="a"))
            assert not reply.ok
            assert "cannot send Answer" in reply.message


class TestFrames:
    async def test_at_most_ten_a_second(self, tick_engine):
        await tick_engine.server.start()
        client = await Raw.connect(tick_engine.path)
        client.send(Attach())
        assert (await client.receive()).frame.full
        for number in range(100):
            tick_engine.bus.publish(make_added(number, f"t{number}"))
            tick_engine.tick(0.025)
        await tick_engine.server.aclose()
        frames = [message.frame for message in await client.rest() if isinstance(message, Update)]
        assert 20 <= len(frames) <= 26
        assert sum(len(frame.rows) for frame in frames) == 100
        client.close()

    async def test_a_longer_interval_is_kept(self, tick_engine):
        await tick_engine.server.start()
        client = await Raw.connect(tick_engine.path)
        client.send(Attach(view=View(interval=1.0)))
        await client.receive()
        for number in range(40):
            tick_engine.bus.publish(make_added(number, f"t{number}"))
            tick_engine.tick(0.1)
        await tick_engine.server.aclose()
        assert 4 <= len([message for message in await client.rest() if isinstance(message, Update)]) <= 5
        client.close()

    async def test_clients_that_stand_at_the_same_point_share_one_encoding(self, tick_engine, monkeypatch):
        await tick_engine.server.start()
        clients = [await Raw.connect(tick_engine.path) for _ in range(5)]
        for client in clients:
            client.send(Attach())
            await client.receive()
        encoded = []
        monkeypatch.setattr(
            server_module, "_encoded", lambda frame: encoded.append(frame) or encode(Update(frame=frame))
        )
        tick_engine.bus.publish(make_added(1, "a"))
        tick_engine.tick()
        assert len(encoded) == 1
        for client in clients:
            assert [row.id for row in (await client.receive()).frame.rows] == ["a"]
        tick_engine.bus.publish(make_added(2, "b"))
        tick_engine.tick()
        assert len(encoded) == 2
        for client in clients:
            assert [row.id for row in (await client.receive()).frame.rows] == ["b"], "what it had was sent again"
            client.close()
        await tick_engine.server.aclose()

    async def test_the_time_comes_even_when_nothing_happens(self, tick_engine):
        await tick_engine.server.start()
        client = await Raw.connect(tick_engine.path)
        client.send(Attach())
        await client.receive()
        tick_engine.tick(HEARTBEAT - 1)
        tick_engine.tick(1)
        frame = (await client.receive()).frame
        assert (frame.time, frame.full, frame.rows, frame.counts) == (tick_engine.clock.time(), False, None, None)
        client.close()
        await tick_engine.server.aclose()

    async def test_commands_only_gets_no_frames_until_it_looks(self, engine, raw):
        client = await raw(Attach(view=None), Ask(number=5, command=Explain(id="a")))
        engine.bus.publish(make_added(1, "a"))
        assert (await client.receive()).number == 5
        client.send(SetView(view=View()))
        assert (await client.receive()).frame.full

    async def test_metrics_that_cannot_be_sent_do_not_end_the_server(self, engine, raw, caplog, wait_until):
        client = await raw(Attach())
        await client.receive()
        with caplog.at_level(logging.ERROR, "mi4.engine.session.server"):
            engine.projection.set_metrics({"bad": object()})
            await wait_until(lambda: caplog.records)
        engine.projection.set_metrics({"good": 1})
        assert (await client.receive()).frame.metrics == {"good": 1}

    async def test_an_answer_that_fails_ends_its_connection_alone(self, engine, monkeypatch, caplog, wait_until):
        good, bad = await engine.client(), await engine.client()
        with monkeypatch.context() as patched:
            patched.setattr(connection_module, "Answer", None)
            with pytest.raises(SessionLostError):
                await bad.ask(Explain(id="a"))
        assert "an answer could not be sent" in caplog.text
        assert (await good.ask(Explain(id="a"))).ok
        await good.aclose()

    async def test_a_listener_that_fails_costs_no_client_its_connection(self, engine, caplog):
        engine.server.on_clients_changed = lambda count: 1 / 0
        async with await engine.client() as client:
            assert (await client.ask(Explain(id="a"))).ok
        assert "the number of clients could not be told" in caplog.text

    async def test_who_is_attached_is_counted_and_told(self, engine, wait_until):
        first, second = await engine.client(), await engine.client(None)
        await wait_until(lambda: engine.server.clients == 2)
        await first.aclose()
        await second.aclose()
        await wait_until(lambda: engine.server.clients == 0)
        assert engine.clients_seen == [1, 2, 1, 0]
        assert repr(engine.server) == f"<SessionServer {engine.path}, 0 clients>"


class TestSlowClients:
    async def test_one_that_does_not_read_is_skipped_and_then_gets_one_frame(self, tick_engine):
        await tick_engine.server.start()
        slow = await Raw.connect(tick_engine.path)
        slow.send(Attach())
        await slow.receive()
        flood(tick_engine)
        tick_engine.tick()
        (connection,) = tick_engine.server._connections
        waiting = connection._unread()
        assert waiting > 0, "the socket took it all; the flood is too small for this machine"
        for _ in range(50):
            flood(tick_engine)
            tick_engine.tick()
        assert connection._unread() == waiting, "memory grows with what a client does not read"
        first = await slow.receive()
        assert len(first.frame.rows) == 2000
        tick_engine.tick()
        second = await slow.receive()
        assert second.frame.seq == tick_engine.bus.seq
        assert len(second.frame.rows) == 2000
        slow.close()
        await tick_engine.server.aclose()

    async def test_a_client_that_is_slow_is_kept_however_long_it_takes(self, tick_engine):
        await tick_engine.server.start()
        slow = await Raw.connect(tick_engine.path)
        slow.send(Attach())
        await slow.receive()
        for _ in range(10):
            flood(tick_engine)
            tick_engine.tick(STUCK_AFTER)
        assert (tick_engine.server.clients, tick_engine.server.dropped) == (1, 0)
        slow.close()
        await tick_engine.server.aclose()

    async def test_a_socket_whose_process_is_gone_is_dropped_in_time(self, tick_engine, wait_until):
        await tick_engine.server.start()
        orphan = socket.socket(socket.AF_UNIX)
        connect = "import socket, sys; socket.socket(fileno=int(sys.argv[1])).connect(sys.argv[2])"
        argv = [sys.executable, "-c", connect, str(orphan.fileno()), str(tick_engine.path)]
        child = await asyncio.create_subprocess_exec(*argv, pass_fds=[orphan.fileno()])
        assert await child.wait() == 0
        orphan.sendall(encode(Attach()))
        await wait_until(lambda: tick_engine.server.clients)
        flood(tick_engine)
        tick_engine.tick()
        tick_engine.tick()
        tick_engine.tick(STUCK_AFTER - 1)
        assert tick_engine.server.clients == 1
        tick_engine.tick(2)
        await asyncio.sleep(0.01)
        assert (tick_engine.server.clients, tick_engine.server.dropped) == (0, 1)
        orphan.close()
        await tick_engine.server.aclose()

    async def test_one_that_does_not_read_its_answers_is_not_read_from(self, engine, raw, monkeypatch, wait_until):
        monkeypatch.setattr(connection_module, "MAX_UNREAD", 50_000)

        async def handle(command):
            engine.commands.append(command)
            return Reply(data={"output": b"x" * 100_000})

        engine.server._handle = handle
        greedy = await raw(Attach(view=None))
        greedy.send(*(Ask(number=number, command=FindLog(id="a")) for number in range(500)))
        await wait_until(lambda: engine.commands)
        (connection,) = engine.server._connections
        await wait_until(lambda: not connection._reading)
        assert connection._unread() < connection_module.MAX_UNREAD + 65 * 100_100
        assert len(engine.commands) < 100
        async with await engine.client() as good:
            assert (await good.ask(FindLog(id="b"))).ok
        answers = [(await greedy.receive()).number for _ in range(500)]
        assert sorted(answers) == list(range(500))

    async def test_a_stopped_client_is_kept_and_catches_up(self, engine, wait_until):
        engine.bus.publish(*run_of("w1"))
        pipe = asyncio.subprocess.PIPE
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", CHILD, str(engine.path), stdout=pipe)
        try:
            async with asyncio.timeout(60):
                assert (await child.stdout.readline()).startswith(b"Update")
                os.kill(child.pid, signal.SIGSTOP)
                (connection,) = engine.server._connections
                for _ in range(20):
                    flood(engine)
                    await asyncio.sleep(0.03)
                assert connection._unread() > 0
                os.kill(child.pid, signal.SIGCONT)
                lines = []
                while not lines or lines[-1] != f"Update {engine.bus.seq} 2000".encode():
                    lines.append((await child.stdout.readline()).strip())
            assert len(lines) <= 4, lines
            assert engine.server.dropped == 0
        finally:
            child.kill()
            await child.wait()
        await wait_until(lambda: engine.server.clients == 0)

    async def test_a_killed_client_is_forgotten(self, engine, wait_until):
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CHILD, str(engine.path), stdout=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(60):
            await child.stdout.readline()
        assert engine.server.clients == 1
        child.send_signal(signal.SIGKILL)
        await child.wait()
        engine.bus.publish(*life_of(1, "a"))
        await wait_until(lambda: engine.server.clients == 0)


class TestTheEnd:
    async def test_clients_get_what_is_left_and_the_reason(self, make_engine):
        engine = make_engine()
        await engine.server.start()
        client = await engine.client()
        engine.bus.publish(*life_of(1, "a"), ev.RunFinished(succeeded=1))
        await engine.server.aclose("all is done")
        assert client.projection.run.finished["succeeded"] == 1
        assert client.projection.row("a").state == "succeeded"
        assert (client.connected, client.lost_because) == (False, "all is done")

    async def test_a_command_that_ends_in_time_is_answered(self, make_engine, wait_until):
        engine = make_engine()

        async def handle(command):
            engine.commands.append(command)
            await wait_until(lambda: engine.server._closing)
            return Reply(message="done")

        engine.server._handle, engine.server.farewell = handle, 30.0
        await engine.server.start()
        client = await engine.client(None)
        async with asyncio.TaskGroup() as group:
            asked = group.create_task(client.ask(Explain(id="a")))
            await wait_until(lambda: engine.commands)
            await engine.server.aclose("bye")
        assert asked.result().message == "done"
        assert client.lost_because == "bye"

    async def test_one_that_does_not_is_cancelled(self, make_engine, wait_until):
        engine = make_engine()
        await engine.server.start()
        client = await Raw.connect(engine.path)
        client.send(Attach(view=None), Ask(number=1, command=StopEngine()))
        await wait_until(lambda: engine.commands)
        await engine.server.aclose("bye")
        assert [type(message) for message in await client.rest()] == [Goodbye]
        client.close()

    async def test_a_client_that_does_not_read_does_not_hold_up_the_end(self, tick_engine):
        await tick_engine.server.start()
        slow = await Raw.connect(tick_engine.path)
        slow.send(Attach())
        await slow.receive()
        flood(tick_engine)
        tick_engine.tick()
        async with asyncio.timeout(30):
            await tick_engine.server.aclose()
        assert tick_engine.server.clients == 0
        slow.close()

    async def test_no_new_client_is_taken_in(self, engine):
        engine.server._closing = True
        client = await Raw.connect(engine.path)
        assert await client.rest() == [Goodbye(reason="the engine is ending")]
        engine.server._closing = False
        client.close()


def test_a_frame_survives_the_wire():
    projection = Projection()
    projection.apply([*run_of("w1"), *life_of(1, "a")])
    frame = projection.viewer(View()).take(1.0)
    (body,) = FrameSplitter().feed(encode(Update(frame=frame)))
    assert msgspec.to_builtins(decode_from_server(body).frame) == msgspec.to_builtins(frame)
