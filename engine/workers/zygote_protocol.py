"""What the engine and its zygote say to each other: one MessagePack struct per packet of a SOCK_SEQPACKET pair.

Paths travel as bytes: the name of a folder need not be UTF-8.
"""

from __future__ import annotations

from typing import Any

import msgspec

PACKET = 128 * 1024
"""Bytes; no packet is longer."""
CONTROL_FD = 3
"""Descriptor on which a new zygote finds its end of the pair, and an exec'ed host its socket."""
ORDER_FD = 4
"""Descriptor on which an exec'ed host finds its `Configure` and `Fork`."""


class Configure(msgspec.Struct, frozen=True, tag="configure"):
    """The first packet: what is the same for all hosts of this zygote."""

    engine_pid: int
    run_id: str
    entry: str
    """``module:function`` of the host's main; it never returns."""
    logs: bytes
    options: dict[str, Any]
    """Converted to the type that the entry's parameter `options` is annotated with."""
    preload: tuple[str, ...] = ()
    """Modules to import before the first fork."""


class Fork(msgspec.Struct, frozen=True, tag="fork"):
    """Start a host; the packet carries its socket. Answered by `Forked` or `Refused`."""

    number: int
    """Identifies the request."""
    name: str
    progress: bytes


class Kill(msgspec.Struct, frozen=True, tag="kill"):
    """Send a signal to a host. Only its parent can do that without a doubt whose pid it is."""

    pid: int
    signal: int


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The zygote has imported everything and forks from now on."""

    pid: int
    warnings: tuple[str, ...] = ()
    """What went wrong with `Configure.preload`."""


class Forked(msgspec.Struct, frozen=True, tag="forked"):
    """The host exists."""

    number: int
    pid: int


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """The host could not be forked."""

    number: int
    error: str


class Died(msgspec.Struct, frozen=True, tag="died"):
    """A host ended and was reaped. Unless it ended well (status 0), what it left behind is gone too."""

    pid: int
    status: int
    """As `os.waitpid` gives it."""
    last_words: str = ""
    """The last lines of its stderr."""


ToZygote = Configure | Fork | Kill
FromZygote = Ready | Forked | Refused | Died

_encoder = msgspec.msgpack.Encoder()
_to_zygote: msgspec.msgpack.Decoder[ToZygote] = msgspec.msgpack.Decoder(ToZygote)
_from_zygote: msgspec.msgpack.Decoder[FromZygote] = msgspec.msgpack.Decoder(FromZygote)


def encode(message: ToZygote | FromZygote) -> bytes:
    """The bytes of one packet."""
    return _encoder.encode(message)


def decode_to_zygote(packet: bytes) -> ToZygote:
    """What the engine said; raises `msgspec.MsgspecError`."""
    return _to_zygote.decode(packet)


def decode_from_zygote(packet: bytes) -> FromZygote:
    """What the zygote said; raises `msgspec.MsgspecError`."""
    return _from_zygote.decode(packet)
