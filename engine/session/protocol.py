"""What a client and the engine say to each other over the session socket.

Frames are those of `engine.workers.protocol` (four bytes of length, then MessagePack). The client opens with `Attach`; the server
answers with a full `Frame` and then sends at most ten frames a second, each with what changed since the last one that this client
took. A client that does not drain its socket is skipped, never waited for: what it missed is in its next frame.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from ..events.projection import Frame
from ..tasks.model import Task

VERSION = 1
MAX_FRAMES_PER_SECOND = 10.0


# Commands: what a user can ask of an engine, in the process or over the socket. Each is answered by one `Reply`.


class Command(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What all commands have (nothing)."""


class AddTasks(Command, frozen=True, kw_only=True, tag="add"):
    """Accept these tasks. Reply data: ``accepted``, ``already_done`` (lists of ids)."""

    tasks: tuple[Task, ...]
    rerun: bool = False


class Reprioritise(Command, frozen=True, kw_only=True, tag="prio"):
    """Set the priority (100-400), or change it by `delta`. Reply data: ``previous``: id -> [priority, manual]."""

    ids: tuple[str, ...]
    priority: float | None = None
    delta: float = 0.0


class Move(Command, frozen=True, kw_only=True, tag="move"):
    """Move waiting tasks in the queue by their manual score term. ``now`` is before all others. Reply data as `Reprioritise`."""

    ids: tuple[str, ...]
    where: Literal["top", "bottom", "up", "down", "now"]


class RestoreOrder(Command, frozen=True, kw_only=True, tag="restore_order"):
    """Undo: set priority and manual term as an earlier reply gave them. Reply data as `Reprioritise`."""

    values: dict[str, tuple[float, float]]


class Hold(Command, frozen=True, kw_only=True, tag="hold"):
    """Keep waiting tasks from starting."""

    ids: tuple[str, ...]


class Release(Command, frozen=True, kw_only=True, tag="release"):
    """Let held tasks run; no ids means all held ones."""

    ids: tuple[str, ...]


class Cancel(Command, frozen=True, kw_only=True, tag="cancel"):
    """Cancel open tasks; running ones are stopped by the kill ladder, or at once with `force`."""

    ids: tuple[str, ...]
    force: bool = False


class Retry(Command, frozen=True, kw_only=True, tag="retry"):
    """A new generation of finished tasks; no ids means all that failed, timed out, were cancelled, or were skipped for those."""

    ids: tuple[str, ...]


class Pause(Command, frozen=True, kw_only=True, tag="pause"):
    """Start nothing new; unstarted leases are recalled. An empty category means all."""

    category: str = ""


class Resume(Command, frozen=True, kw_only=True, tag="resume"):
    """The opposite of `Pause`."""

    category: str = ""


class Resize(Command, frozen=True, kw_only=True, tag="resize"):
    """Set the number of workers."""

    size: int


class Explain(Command, frozen=True, kw_only=True, tag="explain"):
    """Why this task has its place. Reply data: `engine.scheduling.scheduler.Explanation` as a dict."""

    id: str


class WriteReport(Command, frozen=True, kw_only=True, tag="report"):
    """Write the JSON report. Reply data: ``path``, ``report``."""

    path: str = ""
    """Empty: only return it."""


class FindLog(Command, frozen=True, kw_only=True, tag="log"):
    """Where the output of a task is. Reply data: ``path`` (or empty), ``output`` (bytes, when small), ``attempt``, ``state``."""

    id: str
    attempt: int | None = None


class StopEngine(Command, frozen=True, kw_only=True, tag="stop"):
    """End the engine: after what runs has ended, or with `now` after cancelling it."""

    now: bool = False


AnyCommand = (
    AddTasks
    | Reprioritise
    | Move
    | RestoreOrder
    | Hold
    | Release
    | Cancel
    | Retry
    | Pause
    | Resume
    | Resize
    | Explain
    | WriteReport
    | FindLog
    | StopEngine
)


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a command, sent once its effect is durable."""

    ok: bool = True
    message: str = ""
    """One line for the user: what was done, or why not and what to do."""
    data: dict[str, Any] = {}


# The wire.


class View(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What a client looks at; the engine sends no more than this needs."""

    workers: tuple[str, ...] | None = None
    """Slots whose output tails are wanted; None for all, empty for none."""
    rows: bool = True
    """Whether task rows are wanted (a status line needs only counts)."""
    interval: float = 0.1
    """Seconds between frames, at least 0.1."""


class Attach(msgspec.Struct, frozen=True, kw_only=True, tag="attach"):
    """The first message of a client."""

    version: int = VERSION
    view: View | None = View()
    """None: commands only, no frames."""


class SetView(msgspec.Struct, frozen=True, kw_only=True, tag="view"):
    """The client looks at something else now."""

    view: View


class Ask(msgspec.Struct, frozen=True, kw_only=True, tag="ask"):
    """A command; `number` comes back with the answer."""

    number: int
    command: AnyCommand


class Answer(msgspec.Struct, frozen=True, kw_only=True, tag="answer"):
    """The reply to `Ask` with the same number."""

    number: int
    reply: Reply


class Update(msgspec.Struct, frozen=True, kw_only=True, tag="update"):
    """A frame of the projection."""

    frame: Frame


class Goodbye(msgspec.Struct, frozen=True, kw_only=True, tag="goodbye"):
    """The engine ends, or refuses this client."""

    reason: str


FromClient = Attach | SetView | Ask
FromServer = Answer | Update | Goodbye
