"""Every message of the session protocol survives the wire, and nothing else gets through."""

from __future__ import annotations

import pytest

from engine.errors import ProtocolError
from engine.events.projection import Frame
from engine.session import Explain, Reply, View, wire
from engine.session.protocol import Answer, Ask, Attach, Goodbye, SetView, Update
from engine.session.wire import FrameSplitter, decode_from_client, decode_from_server, encode

OF_CLIENTS = [
    Attach(),
    Attach(view=None),
    SetView(view=View(workers=("w1",), rows=False)),
    Ask(number=3, command=Explain(id="a")),
]
OF_SERVERS = [
    Answer(number=3, reply=Reply(data={"a": [1, b"x"]})),
    Update(frame=Frame(seq=1, time=2.0)),
    Goodbye(reason="bye"),
]


@pytest.mark.parametrize("message", OF_CLIENTS)
def test_what_clients_say(message):
    (body,) = FrameSplitter().feed(encode(message))
    assert decode_from_client(body) == message
    with pytest.raises(ProtocolError, match="bad frame from the engine"):
        decode_from_server(body)


@pytest.mark.parametrize("message", OF_SERVERS)
def test_what_the_engine_says(message):
    (body,) = FrameSplitter().feed(encode(message))
    assert decode_from_server(body) == message
    with pytest.raises(ProtocolError, match="bad frame from a client"):
        decode_from_client(body)


def test_a_frame_that_is_too_long_is_not_sent(monkeypatch):
    monkeypatch.setattr(wire, "MAX_FRAME", 50)
    encode(Goodbye(reason="x" * 10))
    with pytest.raises(ProtocolError, match="over the limit of 50"):
        encode(Goodbye(reason="x" * 50))


def test_what_messagepack_cannot_hold_is_not_sent():
    with pytest.raises(ProtocolError, match="cannot send Answer"):
        encode(Answer(number=1, reply=Reply(data={"a": object()})))
    with pytest.raises(ProtocolError, match="cannot send Answer"):
        encode(Answer(number=1, reply=Reply(data={"a": 1 << 80})))
