"""The host's side of calls under way: a batch that the warm child has in hand, and the job that stands for one call of it."""

from __future__ import annotations

import os
import signal
import socket
from collections import deque
from collections.abc import Callable, Iterator

from ...errors import ProtocolError
from ..progress import ProgressPage
from ..protocol import FrameSplitter, Work
from .job import Outcome, describe_status, exit_code
from .slate import ALL, Reply, Slate, decode_reply

_RECEIVE = 256 * 1024
_GO_ON = b"\0\0\0\0"
"""An empty frame."""


class WarmChild:
    """A child and the host's ends of its channels. State: open descriptors; the owner is the runner."""

    def __init__(self, pid: int, channel: socket.socket, output: int, slate: Slate, key: object) -> None:
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self.channel = channel
        self.output = output
        self.slate = slate
        self.key = key
        """What calls must have in common to be made here."""
        self.splitter = FrameSplitter()
        self.watched: tuple[int, ...] = (channel.fileno(), self.pidfd)
        """Readable when there is news; a channel that has ended is left out."""
        self.alive = True
        self.stale = False
        """Whether it must make no further calls: the user's files have changed since they were imported, or it is `broken`."""
        self.broken = False
        """Whether what comes from its channel makes no sense; that something comes is news all the same."""
        self.status = 0
        """Wait status once it has ended by itself."""

    def ended(self) -> bool:
        """Whether it has ended; it is reaped then."""
        if self.alive:
            try:
                pid, self.status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                pid = self.pid
            self.alive = pid == 0
        return not self.alive

    def end(self) -> None:
        """Kill and reap it and what shares its group; its output can still be read."""
        if self.alive:
            self.alive = False
            _kill_group(self.pid)
            _, self.status = os.waitpid(self.pid, 0)

    def close(self) -> None:
        """`end`, and close all."""
        self.end()
        self.channel.close()
        os.close(self.pidfd)
        os.close(self.output)
        self.slate.close()


class CallBatch:
    """Calls that a child has in hand, first to last. State: which are answered, which were given back; the owner is the host."""

    def __init__(
        self,
        child: WarmChild,
        number: int,
        works: tuple[Work, ...],
        progress: ProgressPage,
        release: Callable[[], None],
    ) -> None:
        self.child = child
        self.number = number
        self.unbegun: list[Work] = []
        """Works that were handed over and will not be begun; whoever takes them empties the list."""
        self.early = b""
        """Output that was read before the answers to the calls before its own."""
        self._works = deque(works)
        self._answered: deque[tuple[Work, Reply]] = deque()
        self._count = 0  # works that were answered so far
        self._progress = progress
        self._release = release
        self._single = len(works) == 1
        self._paused = False  # the child waits for `go_on`
        self._watching = self._single  # the output is being read

    @property
    def current(self) -> Work | None:
        """The first work whose result has not been taken; None when all is done."""
        if self._answered:
            return self._answered[0][0]
        return self._works[0] if self._works else None

    @property
    def single(self) -> bool:
        """Whether it was made for one call, whose output is read while it runs."""
        return self._single

    @property
    def answered(self) -> bool:
        """Whether the current work has an answer."""
        return bool(self._answered)

    def began(self) -> float | None:
        """Monotonic time at which the current work began, or a later one when its answer is not collected; None: it has not."""
        if self._answered:
            return self._answered[0][1].began
        return self.child.slate.began if self._begun() > self._count else None

    def before_reading(self) -> None:
        """Output of a call that is over will be read while the child may be in a later one, which must not count on then."""
        if self._works:
            self.child.slate.watch(self.number)

    def is_ahead(self) -> bool:
        """Whether the child has begun a call behind the current one, which has no answer that we know of."""
        return self._begun() > self._count + 1

    def hold(self) -> None:
        """Let the child begin nothing more of it; what it has not begun goes to `unbegun`."""
        begun = self.child.slate.hold(self.number) if self.child.alive else self._begun()
        self._drop(begun - self._count)

    def watch(self) -> None:
        """The output of the current call will be read while it runs."""
        self._watching = True
        self.child.slate.watch(self.number)

    def plain(self) -> Iterator[tuple[Work, Reply]]:
        """Take the answers that need no work of ours, up to the first that does."""
        while self._answered and self._answered[0][1].plain:
            yield self._answered.popleft()

    def answer(self, work: Work) -> Reply | None:
        """Take the answer to the current work, if it is there."""
        self._collect()
        if self._answered and self._answered[0][0] is work:
            return self._answered.popleft()[1]
        return None

    def lost(self, work: Work) -> Outcome | None:
        """The child has ended and `work` has no answer: its outcome, or None when it never began."""
        if not self._works or self._works[0] is not work:
            return None
        begun = self._begun()
        if begun <= self._count and self._count:
            self._drop(0)
            return None
        self._progress.begin(work.lease)  # a child that cannot even begin is an outcome of its first call
        self._works.popleft()
        self._count += 1
        self._drop(begun - self._count)  # what has begun is never made again, whatever became of its answer
        return _ended(self.child.status)

    def resume(self) -> None:
        """Let a child that waits go on; all output of the calls that were answered has been read."""
        if not self._paused or self._answered:
            return
        self._paused = False
        if not self._works:
            return
        if not self._watching:
            self.child.slate.unwatch()
        try:
            self.child.channel.sendall(_GO_ON)
        except OSError:
            return  # it has died, which its pidfd tells

    def close(self) -> None:
        """After the end of a call, whose output is read: the next may come; a dead child goes when nothing of it is wanted."""
        self._watching = False
        self.resume()
        if not self.child.alive and self.current is None:
            self._release()

    def _begun(self) -> int:
        return self.child.slate.begun(self.number)

    def _drop(self, keep: int) -> None:
        """All works behind the first `keep` unanswered ones go to `unbegun`."""
        rest = list(self._works)[max(0, keep) :]
        for _ in rest:
            self._works.pop()
        self.unbegun += rest

    def _collect(self) -> None:
        """Take the replies in shared memory and those that were too big for it."""
        if not self._works:
            return
        long: list[Reply] = []
        try:
            long = self._received()  # one that was too long for the memory ends its batch, so all others came before it
        except (
            ProtocolError
        ):  # user code wrote into our channel: the call under way may be an innocent one, and ends first
            self.child.broken = self.child.stale = True
            self.hold()
        try:
            for reply in (*self.child.slate.take(self.number), *long):
                self._take(reply)
            if self.child.broken and self._works and self.child.slate.is_long(self.number):
                self.child.end()  # the answer was in what could not be understood
        except ProtocolError:
            self.child.end()  # user code wrote into our memory

    def _received(self) -> list[Reply]:
        """Replies from the channel; empty frames only say that there is something to look at."""
        child, replies = self.child, list[Reply]()
        try:
            while data := child.channel.recv(_RECEIVE, socket.MSG_DONTWAIT):
                if child.broken:
                    continue
                replies += [decode_reply(body) for body in child.splitter.feed(data) if body]
        except BlockingIOError:
            return replies
        except OSError:
            pass
        child.watched = (child.pidfd,)
        return replies

    def _take(self, reply: Reply) -> None:
        self._paused = self._paused or reply.waits
        if reply.number == 0:
            return
        if not self._works or reply.number != self._works[0].lease:
            raise ProtocolError("a reply to no call")
        if reply.stale:
            self.child.stale = True
            self._drop(0)
            return
        self._answered.append((self._works.popleft(), reply))
        self._count += 1
        if reply.over or reply.distrust:
            self._drop(0)


class PythonJob:
    """One call of a batch. State: how much of the output is this call's; the owner is the attempt."""

    def __init__(self, batch: CallBatch, work: Work) -> None:
        child = batch.child
        self.batch = batch
        self.group = child.pid
        self.output = child.output
        self.live = batch.single
        self._work = work
        self._owed: int | None = (
            None if self.live else 0
        )  # bytes of output that are still to be read; None: all there are
        self._reply: Reply | None = None

    @property
    def watched(self) -> tuple[int, ...]:
        """Where news of the child come from."""
        return self.batch.child.watched

    def ready(self, now: float) -> Outcome | None:  # noqa: ARG002 -- the interface of all jobs
        """The outcome once the child has answered or ended; None also when the call was given back."""
        reply = self.batch.answer(self._work)
        if reply is None and not self.batch.unbegun and self.batch.child.ended():
            reply = self.batch.answer(self._work)
            if reply is None:
                self.live, self._owed = True, None
                return self.batch.lost(self._work)
        if reply is None:
            self.batch.resume()
            return None
        return self._settle(reply)

    def read(self, limit: int) -> bytes:
        """Up to `limit` bytes of this call's output; raises `BlockingIOError` when no more are there."""
        if self._owed is None:
            return self._read_all(limit)
        if not self._owed:
            raise BlockingIOError
        self.batch.before_reading()
        chunk = os.read(self.output, min(limit, self._owed))
        self._owed -= len(chunk)
        return chunk

    def _read_all(self, limit: int) -> bytes:
        """What is in the pipe, unless the child is at a later call by now: nothing but that one can have written it.

        A child that has written since the last call began waits for us before it begins another.
        """
        batch = self.batch
        if batch.early:
            chunk, batch.early = batch.early, b""
            return chunk
        batch.child.slate.count_read()
        chunk = os.read(self.output, limit)
        if self._reply is None and batch.is_ahead():
            batch.early += chunk
            raise BlockingIOError
        return chunk

    def look(self, now: float) -> Outcome | None:
        """It takes long: read its output while it runs. An answer that is there already counts its output exactly."""
        self.batch.watch()
        outcome = self.ready(now)
        if outcome is None:
            self.live, self._owed = True, None
        return outcome

    def hold(self) -> None:
        """No other call of the batch may begin."""
        self.batch.hold()

    def has_begun(self) -> bool:
        """Whether the call has begun."""
        return self._reply is not None or self.batch.began() is not None

    def due(self) -> float | None:
        """Never: descriptors tell."""
        return None

    def abort(self) -> Outcome | None:
        """Nothing: the ladder ends the process."""
        return None

    def close(self) -> None:
        """Make room for the next call."""
        self.batch.close()

    def _settle(self, reply: Reply) -> Outcome:
        self._reply = reply
        self.live = self.live or reply.printed == ALL
        self._owed = None if reply.printed == ALL or (self.live and reply.printed) else reply.printed
        if reply.distrust:
            self.batch.child.end()
        return Outcome(
            outcome="succeeded" if reply.ok else "failed",
            cause=reply.cause,
            error=reply.error,
            retryable=reply.retryable,
            exit_code=reply.exit_code,
            value=reply.value,
            began=reply.began,
            ended=reply.ended,
        )


def _ended(status: int) -> Outcome:
    """The outcome of a call whose process ended before it returned."""
    return Outcome(
        outcome="failed",
        error=f"the callable's process ended before it returned: {describe_status(status)}",
        exit_code=exit_code(status),
    )


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except OSError:
        try:
            os.kill(pid, signal.SIGKILL)  # it is not the leader of its group yet, or the group is gone
        except OSError:
            return
