"""Whether a worker still answers, and how much memory it holds: by a ping every few seconds, which costs a host next to nothing.

A host answers while a task runs, for the task is a process of its own. So a host that is silent is frozen or stuck, however long
its task takes.
"""

from __future__ import annotations

from enum import Enum

from .protocol import FromHost, Pong

PING_SECONDS = 4.0
"""Between two pings."""
_WAKE_SHARE = 1 / 3
"""The part of the limit after which a silent process is continued, in case that somebody stopped it."""


class Step(Enum):
    """What has to be done about a worker now."""

    NOTHING = "nothing"
    PING = "ping"
    WAKE = "wake"
    KILL = "kill"


class Health:
    """How one worker answers. State, owned by the roster: when it was asked and woken, when it spoke, what it holds."""

    def __init__(self, now: float) -> None:
        self.memory = 0
        """Resident bytes of the host and all below it at its last answer; 0 before the first one."""
        self.token = 0
        """Of the last ping."""
        self._looked_at = now
        self._silent_since: float | None = None
        self._woken = False

    @property
    def waits(self) -> bool:
        """Whether a ping is not answered yet."""
        return self._silent_since is not None

    def heard(self, message: FromHost, now: float) -> None:
        """Something came from it: it is alive. Only the answer to the last ping ends the waiting."""
        if self._silent_since is None:
            return
        self._silent_since, self._woken = now, False
        if isinstance(message, Pong) and message.token == self.token:
            self.memory = message.rss
            self._silent_since, self._looked_at = None, now

    def step(self, now: float, limit: float) -> Step:
        """What to do now, when it may be silent for `limit` seconds; the caller does it, once each."""
        if self._silent_since is None:
            if now - self._looked_at < PING_SECONDS:
                return Step.NOTHING
            self.token += 1
            self._silent_since, self._woken = now, False
            return Step.PING
        silent = now - self._silent_since
        if silent >= limit:
            return Step.KILL
        if silent >= limit * _WAKE_SHARE and not self._woken:
            self._woken = True
            return Step.WAKE
        return Step.NOTHING

    def excuse(self, now: float) -> None:
        """The engine itself did not listen for a while: a silence until now says nothing."""
        if self._silent_since is not None:
            self._silent_since = now
