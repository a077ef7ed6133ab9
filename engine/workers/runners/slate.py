"""Memory that a host and its warm child share: how far the child is, what its calls gave, and the host's word to go no further.

The host hands over calls in *batches*. The child writes each reply here and wakes the host only when there is a reason, so a batch
costs one wake-up and loses no reply when a later call kills the process. Words of eight bytes stand at the start, each written by
one side only; the replies of the batch under way stand behind them, one after another.
"""

from __future__ import annotations

import mmap
import struct
import threading
from typing import Any

import msgspec

from ...errors import ProtocolError
from ..protocol import MAX_FRAME, Work

BYTES = 256 * 1024
ALL = -1
"""As `Reply.printed`: whatever the pipe holds when the reply is read."""
_HELD, _WATCHED, _READS, _BATCH, _USED, _BEGUN, _BEGAN, _LONG = range(8)
_FIRST = 64
_LENGTH = struct.Struct("=I")
FRAME_LENGTH = struct.Struct(">I")
"""Stands before each frame on the channel."""


class Calls(msgspec.Struct, frozen=True, array_like=True):
    """A batch: what the host writes to the child's channel."""

    number: int
    items: tuple[Work, ...]


class Reply(msgspec.Struct, array_like=True):
    """The answer to one call."""

    number: int
    """Lease of the call; 0 for no reply but the word that the child waits."""
    ok: bool
    value: Any = None
    error: str = ""
    cause: str = ""
    retryable: bool = True
    exit_code: int | None = None
    distrust: str = ""
    """Why this child must not be used again; empty when it may."""
    stale: bool = False
    """The call was not made: a module's file has changed since it was imported."""
    began: float = 0.0
    ended: float = 0.0
    """Monotonic times."""
    printed: int = 0
    """Bytes in the pipe that are this call's and stand behind those of the calls before it; or `ALL`."""
    waits: bool = False
    """The child goes on only when the host says so: the host must read this call's output first."""
    over: bool = False
    """The child has let go of the rest of the batch, which it has not begun."""

    @property
    def plain(self) -> bool:
        """Whether nothing has to be done about it but to pass it on."""
        return self.ok and not (self.printed or self.waits or self.distrust or self.over or self.stale)


_calls_encoder = msgspec.msgpack.Encoder()
_calls_decoder = msgspec.msgpack.Decoder(Calls)
_reply_decoder = msgspec.msgpack.Decoder(Reply)


def calls_frame(calls: Calls) -> bytes:
    """The bytes of a frame with `calls`; raises `ProtocolError` when it is too long or holds what MessagePack cannot."""
    try:
        body = _calls_encoder.encode(calls)
    except (TypeError, ValueError, OverflowError) as error:
        raise ProtocolError(str(error)) from error
    if len(body) > MAX_FRAME:
        raise ProtocolError(f"{len(body):,} bytes are over the limit of {MAX_FRAME:,}")
    return FRAME_LENGTH.pack(len(body)) + body


def decode_calls(body: bytes) -> Calls:
    """The batch in a frame."""
    return _calls_decoder.decode(body)


def decode_reply(body: bytes) -> Reply:
    """A reply from its bytes; raises `ProtocolError`: user code can write to our memory and descriptors."""
    try:
        return _reply_decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise ProtocolError(f"bad reply of a callable's process: {error}") from error


class Slate:
    """State: the shared memory; each side has its own copy of this object, made by the fork."""

    def __init__(self) -> None:
        self._map = mmap.mmap(-1, BYTES)
        self._bytes = memoryview(self._map)
        self._words = self._bytes.cast("Q")
        self._times = self._bytes.cast("d")
        self._lock = threading.Lock()
        self._read_to = _FIRST

    def close(self) -> None:
        """Give the memory back."""
        for view in (self._words, self._times, self._bytes):
            view.release()
        self._map.close()

    def _fence(self) -> None:
        """Let the other side see what was stored before anything is loaded again: taking a lock is a full barrier."""
        with self._lock:
            pass

    # The host's side.

    def begin(self, number: int, *, watched: bool) -> None:
        """Batch `number` will be handed over next. `watched`: its output is read from the start."""
        self._words[_WATCHED] = number if watched else 0
        self._read_to = _FIRST

    def hold(self, number: int) -> int:
        """From now on no further call of the batch begins; returns how many have begun."""
        self._words[_HELD] = number
        self._fence()
        return self.begun(number)

    def watch(self, number: int) -> None:
        """The output may be read from now on, so the child cannot count it any more."""
        self._words[_WATCHED] = number
        self._fence()

    def unwatch(self) -> None:
        """The pipe is empty and the child waits: it counts again."""
        self._words[_WATCHED] = 0

    def count_read(self) -> None:
        """The output is read now."""
        self._words[_READS] += 1

    def begun(self, number: int) -> int:
        """How many calls of the batch have begun."""
        words = self._words
        return words[_BEGUN] if words[_BATCH] == number else 0

    @property
    def began(self) -> float:
        """Monotonic time at which the last call began."""
        return self._times[_BEGAN]

    def take(self, number: int) -> list[Reply]:
        """Replies of the batch that are new; raises `ProtocolError` when the memory makes no sense."""
        replies: list[Reply] = []
        if self._words[_BATCH] != number:
            return replies
        used = self._words[_USED]
        while self._read_to < used <= BYTES:
            (length,) = _LENGTH.unpack_from(self._map, self._read_to)
            start = self._read_to + _LENGTH.size
            if start + length > used:
                raise ProtocolError("the replies of a callable's process make no sense")
            self._read_to = start + length
            replies.append(decode_reply(self._map[start : self._read_to]))
        return replies

    # The child's side.

    def open(self, number: int) -> None:
        """The batch has arrived and nothing of it has begun. The number comes last: it makes the others valid."""
        words = self._words
        words[_USED], words[_BEGUN] = _FIRST, 0
        words[_BATCH] = number

    def held(self, number: int) -> bool:
        """Whether the host wants no further call of this batch."""
        return self._words[_HELD] == number

    def watched(self, number: int) -> bool:
        """Whether the host may have read output during this batch."""
        return self._words[_WATCHED] == number

    def announce_long(self, number: int) -> None:
        """The next reply of the batch goes by the channel."""
        self._words[_LONG] = number

    def is_long(self, number: int) -> bool:
        """Whether a reply of the batch went by the channel."""
        return self._words[_LONG] == number

    @property
    def reads(self) -> int:
        """Grows with every reading of the output."""
        return self._words[_READS]

    def announce(self, count: int, now: float) -> None:
        """Call number `count` of the batch begins, unless `held` says otherwise afterwards."""
        self._times[_BEGAN] = now
        self._words[_BEGUN] = count
        self._fence()

    def withdraw(self, count: int) -> None:
        """It did not begin: only `count` calls have."""
        self._words[_BEGUN] = count

    def put(self, body: bytes) -> bool:
        """Add a reply; False when there is no room for it. The new end is stored last, so half a reply is never seen."""
        at = self._words[_USED]
        start = at + _LENGTH.size
        end = start + len(body)
        if end > BYTES:
            return False
        _LENGTH.pack_into(self._map, at, len(body))
        self._map[start:end] = body
        self._words[_USED] = end
        self._fence()
        return True
