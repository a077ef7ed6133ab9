"""An engine that consists of a bus, a projection and a scripted handler of commands, to be seen from outside."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from engine.clock import SYSTEM_CLOCK
from engine.errors import CommandRefusedError
from engine.events.bus import EventBus
from engine.events.projection import Projection
from engine.session import Client, Explain, LocalSession, Pause, Reply, Resume, SessionServer, StopEngine, View

EVERYTHING = View()


async def until(condition, *, seconds=30.0):
    """Wait for what will become true; fails after a time that only a hang reaches."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


class ScriptedEngine:
    """Commands: Explain echoes its id, Pause is refused, Resume fails by a fault, StopEngine never ends, the rest succeed."""

    def __init__(self, folder, clock=SYSTEM_CLOCK):
        self.clock = clock
        self.bus = EventBus(clock)
        self.projection = Projection()
        self.bus.listen(self.projection.apply, name="projection")
        self.commands = []
        self.path = folder / "engine.sock"
        self.clients_seen = []
        self.server = SessionServer(socket_path=self.path, projection=self.projection, handle=self.handle, clock=clock)
        self.server.farewell = 0.05  # clients made by hand close late; nobody needs to wait for them
        self.server.on_clients_changed = self.clients_seen.append

    async def handle(self, command):
        self.commands.append(command)
        match command:
            case Explain():
                await asyncio.sleep(0)
                return Reply(message=command.id, data={"id": command.id, "raw": b"\x00\xff"})
            case Pause():
                raise CommandRefusedError("nothing can be paused here")
            case Resume():
                raise RuntimeError("a fault with a secret inside")
            case StopEngine():
                await asyncio.Event().wait()
        return Reply()

    async def client(self, view=EVERYTHING):
        client = Client(self.clock)
        await client.connect(self.path, view)
        return client

    @contextlib.asynccontextmanager
    async def session(self, kind):
        if kind == "local":
            async with LocalSession(self.projection, self.bus, self.handle, self.clock) as session:
                yield session
        else:
            async with await self.client() as session:
                yield session


@pytest.fixture
def wait_until():
    return until


@pytest.fixture
async def engine(tmp_path):
    """A scripted engine that listens, on the clocks of the machine."""
    engine = ScriptedEngine(tmp_path)
    await engine.server.start()
    yield engine
    await engine.server.aclose()


@pytest.fixture
def make_engine(tmp_path):
    """Makes a scripted engine that does not listen yet."""
    return lambda clock=SYSTEM_CLOCK: ScriptedEngine(tmp_path, clock)
