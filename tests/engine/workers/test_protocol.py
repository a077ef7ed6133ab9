import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ProtocolError
from engine.tasks.model import AttemptResult, OutputSummary, Tokens
from engine.workers import protocol as wire

TO_HOST = [
    wire.Run((wire.Work(1, 2, 3, "a", "shell", command=("true",), kwargs={"n": [1, None]}, set_env={"A": "b"}),)),
    wire.Recall((1, 2)),
    wire.Cancel(1, True),
    wire.Stop(True),
    wire.Ping(7),
]
FROM_HOST = [
    wire.Hello(wire.VERSION, 42),
    wire.Started(1, 2, 3.5),
    wire.Output(1, 2, OutputSummary(lines=3, tail=("a", "b"))),
    wire.Results((AttemptResult(key=1, attempt=2, outcome="failed", output=b"\xff\x00", tokens=Tokens(input=5)),)),
    wire.Recalled((1,)),
    wire.Pong(7, 1024),
]


@pytest.mark.parametrize("message", TO_HOST)
def test_what_the_engine_says_arrives_as_it_was(message) -> None:
    (body,) = wire.FrameSplitter().feed(wire.encode(message))

    assert wire.decode_to_host(body) == message


@pytest.mark.parametrize("message", FROM_HOST)
def test_what_a_host_says_arrives_as_it_was(message) -> None:
    (body,) = wire.FrameSplitter().feed(wire.encode(message))

    assert wire.decode_from_host(body) == message


@given(st.lists(st.integers(1, 9), min_size=1, max_size=40))
def test_frames_are_found_wherever_the_stream_is_cut(cuts) -> None:
    stream = b"".join(wire.encode(message) for message in FROM_HOST)
    splitter, bodies, at = wire.FrameSplitter(), [], 0
    while at < len(stream):
        step = cuts[at % len(cuts)]
        bodies += splitter.feed(stream[at : at + step])
        at += step

    assert [wire.decode_from_host(body) for body in bodies] == FROM_HOST


def test_an_impossible_length_is_refused_before_it_is_read() -> None:
    with pytest.raises(ProtocolError, match="over the limit"):
        wire.FrameSplitter().feed(struct.pack(">I", wire.MAX_FRAME + 1))


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x93\xa3run\x01\x02", b"\x91\xa7unknown"])
def test_nonsense_is_a_protocol_error_and_nothing_else(body) -> None:
    with pytest.raises(ProtocolError):
        wire.decode_to_host(body)
    with pytest.raises(ProtocolError):
        wire.decode_from_host(body)


def test_a_value_that_no_frame_can_hold_is_named() -> None:
    with pytest.raises(ProtocolError, match="Run"):
        wire.encode(wire.Run((wire.Work(1, 1, 1, "a", "python", args=(object(),)),)))
