"""The bytes of the session protocol: the structs of `engine.session.protocol` in the frames of `engine.workers.protocol`."""

from __future__ import annotations

import struct

import msgspec

from ..errors import ProtocolError
from ..workers.protocol import MAX_FRAME, FrameSplitter
from .protocol import FromClient, FromServer

__all__ = ["FrameSplitter", "decode_from_client", "decode_from_server", "encode"]

_LENGTH = struct.Struct(">I")
_encoder = msgspec.msgpack.Encoder()
_from_client = msgspec.msgpack.Decoder(FromClient)
_from_server = msgspec.msgpack.Decoder(FromServer)


def encode(message: FromClient | FromServer) -> bytes:
    """The bytes of one frame; raises `ProtocolError` when it is too long or holds what MessagePack cannot."""
    try:
        body = _encoder.encode(message)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ProtocolError(f"cannot send {type(message).__name__}: {error}") from error
    if len(body) > MAX_FRAME:
        raise ProtocolError(
            f"a {type(message).__name__} frame of {len(body):,} bytes is over the limit of {MAX_FRAME:,}"
        )
    return _LENGTH.pack(len(body)) + body


def decode_from_client(body: bytes) -> FromClient:
    """What a client said; raises `ProtocolError`."""
    try:
        message: FromClient = _from_client.decode(body)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ProtocolError(f"bad frame from a client: {error}") from error
    return message


def decode_from_server(body: bytes) -> FromServer:
    """What the engine said; raises `ProtocolError`."""
    try:
        message: FromServer = _from_server.decode(body)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ProtocolError(f"bad frame from the engine: {error}") from error
    return message
