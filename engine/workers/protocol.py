"""What the engine and a worker host say to each other: length-prefixed frames on a socket of their own, never stdout.

A frame is four bytes of big-endian length and that many bytes of MessagePack: one struct of `ToHost` or `FromHost`. The first
frame of a host is `Hello`; a host of another `VERSION` is killed.
"""

from __future__ import annotations

import struct
from typing import Any

import msgspec

from ..errors import ProtocolError
from ..tasks.model import AttemptResult, OutputSummary

VERSION = 1
MAX_FRAME = 64 * 1024 * 1024
"""Bytes; a longer frame is a protocol error."""
_LENGTH = struct.Struct(">I")


class Work(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One attempt to run, complete: the host needs nothing else."""

    key: int
    attempt: int
    lease: int
    """Grows with every lease of a run; written to the progress page before the attempt begins."""
    task_id: str
    kind: str
    command: tuple[str, ...] | str | None = None
    shell: bool = False
    callable: str = ""
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
    stdin: str | None = None
    cwd: str = ""
    source_dir: str = ""
    set_env: dict[str, str] = {}
    clean_env: bool = False
    keep_env: tuple[str, ...] = ()
    """With `clean_env`: the names that are passed on."""
    timeout: float | None = None
    stall: float | None = None
    verify: tuple[str, ...] | str | None = None
    prompt: str = ""
    """For agents."""
    model: str = ""
    options: dict[str, Any] = {}
    log: str = ""
    """File name below the logs folder, used once the output outgrows `INLINE_OUTPUT`."""
    idempotency_key: str = ""


class Run(msgspec.Struct, frozen=True, tag="run", array_like=True):
    """Run these, one after another, behind what is already waiting in the host."""

    items: tuple[Work, ...]


class Recall(msgspec.Struct, frozen=True, tag="recall", array_like=True):
    """Give back what has not begun; answered by `Recalled`."""

    keys: tuple[int, ...]


class Cancel(msgspec.Struct, frozen=True, tag="cancel", array_like=True):
    """Stop this attempt: the kill ladder, or KILL at once with `force`. Answered by its result."""

    key: int
    force: bool = False


class Stop(msgspec.Struct, frozen=True, tag="stop", array_like=True):
    """Leave: at once when idle; with `force` after killing what runs."""

    force: bool = False


class Ping(msgspec.Struct, frozen=True, tag="ping", array_like=True):
    """Answered by `Pong`, also while a task runs."""

    token: int


ToHost = Run | Recall | Cancel | Stop | Ping


class Hello(msgspec.Struct, frozen=True, tag="hello", array_like=True):
    """The host is ready."""

    version: int
    pid: int


class Started(msgspec.Struct, frozen=True, tag="started", array_like=True):
    """The attempt runs; left out for an attempt whose result goes out in the same breath."""

    key: int
    attempt: int
    time: float


class Output(msgspec.Struct, frozen=True, tag="output", array_like=True):
    """What the running attempt has printed so far; at most ten a second."""

    key: int
    attempt: int
    summary: OutputSummary


class Results(msgspec.Struct, frozen=True, tag="results", array_like=True):
    """Attempts that ended, in the order in which they did."""

    items: tuple[AttemptResult, ...]


class Recalled(msgspec.Struct, frozen=True, tag="recalled", array_like=True):
    """The part of a `Recall` that had not begun and now never will."""

    keys: tuple[int, ...]


class Pong(msgspec.Struct, frozen=True, tag="pong", array_like=True):
    """The host is alive; `rss` is bytes of the host and all below it."""

    token: int
    rss: int = 0


FromHost = Hello | Started | Output | Results | Recalled | Pong

_encoder = msgspec.msgpack.Encoder()
_to_host: msgspec.msgpack.Decoder[ToHost] = msgspec.msgpack.Decoder(ToHost)
_from_host: msgspec.msgpack.Decoder[FromHost] = msgspec.msgpack.Decoder(FromHost)


def encode(message: ToHost | FromHost) -> bytes:
    """The bytes of one frame; raises `ProtocolError` when it is too long or holds what MessagePack cannot."""
    try:
        body = _encoder.encode(message)
    except (TypeError, ValueError, OverflowError) as error:
        raise ProtocolError(f"cannot encode {type(message).__name__}: {error}") from error
    if len(body) > MAX_FRAME:
        raise ProtocolError(
            f"a {type(message).__name__} frame of {len(body):,} bytes is over the limit of {MAX_FRAME:,}"
        )
    return _LENGTH.pack(len(body)) + body


class FrameSplitter:
    """Cuts a byte stream into frame bodies. State: the bytes of the frame that is not complete yet."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Frame bodies that `data` completes; raises `ProtocolError` on an impossible length."""
        buffer = self._buffer
        buffer += data
        bodies: list[bytes] = []
        start, end = 0, len(buffer)
        while end - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(buffer, start)
            if length > MAX_FRAME:
                raise ProtocolError(f"a frame of {length:,} bytes is over the limit of {MAX_FRAME:,}")
            if end - start - _LENGTH.size < length:
                break
            first = start + _LENGTH.size
            bodies.append(bytes(buffer[first : first + length]))
            start = first + length
        del buffer[:start]
        return bodies


def decode_to_host(body: bytes) -> ToHost:
    """What the engine said; raises `ProtocolError`."""
    try:
        return _to_host.decode(body)
    except msgspec.MsgspecError as error:
        raise ProtocolError(f"bad frame for a host: {error}") from error


def decode_from_host(body: bytes) -> FromHost:
    """What a host said; raises `ProtocolError`."""
    try:
        return _from_host.decode(body)
    except msgspec.MsgspecError as error:
        raise ProtocolError(f"bad frame from a host: {error}") from error
