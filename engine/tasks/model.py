"""The values that everything else speaks about: a task, its state, and how an attempt ended.

All are frozen ``msgspec`` structs, so that they travel to disk, over sockets and between processes without a second definition.
They never refer to themselves, so the collector of cycles need not look at them (``gc=False``): there are many.
Durations are float seconds; points in time are float seconds since the epoch.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Any, ClassVar, Literal

import msgspec


class State(StrEnum):
    """Where a task stands; `engine.tasks.lifecycle` says which may follow which."""

    PENDING = "pending"
    QUEUED = "queued"
    LEASED = "leased"
    RUNNING = "running"
    BACKOFF = "backoff"
    HELD = "held"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"


class Cause(StrEnum):
    """Why a task is in its state, where the state alone does not say it."""

    NONE = ""
    DONE_IN_FILE = "done_in_file"
    """Skipped: the task file says that it is done. Satisfies dependencies."""
    RUN_IF_UNMET = "run_if_unmet"
    """Skipped: its ``run_if`` asks for another outcome than its dependencies had. No failure."""
    DEPENDENCY_FAILED = "dependency_failed"
    """Skipped: a dependency did not succeed."""
    INTERRUPTED = "interrupted"
    """Held: it was running when the engine died."""
    USER = "user"
    """Held or cancelled by the user."""
    WORKER_LOST = "worker_lost"
    """Failed or requeued: its worker process died."""
    STALLED = "stalled"
    """Timed out: no output for ``stall_seconds``."""
    VERIFY_FAILED = "verify_failed"
    """Failed: the work ended well but its ``verify`` command did not."""
    START_FAILED = "start_failed"
    """Failed: the command or callable could not be started."""
    OVER_BUDGET = "over_budget"
    """Failed: it used more tokens than it may."""
    SHUTDOWN = "shutdown"
    """Cancelled because the engine was told to stop at once."""
    FAIL_FAST = "fail_fast"
    """Cancelled because another task failed and ``--fail-fast`` was given."""
    SUPERSEDED = "superseded"
    """Cancelled unseen: the task was added again with other content before it had started."""


class Priority:
    """The named priorities; any number from 100 to 400 may stand between them."""

    LOW = 100.0
    NORMAL = 200.0
    HIGH = 300.0
    CRITICAL = 400.0
    NAMES: ClassVar[dict[str, float]] = {
        "low": LOW,
        "normal": NORMAL,
        "medium": NORMAL,
        "high": HIGH,
        "critical": CRITICAL,
    }


AGENT_KINDS = ("codex", "claude", "acp", "simulated")
"""Kinds whose work is a prompt: they use tokens, and retry three times unless told otherwise."""
KINDS = ("shell", "python", *AGENT_KINDS)
AGENT_RETRIES = 3
"""Attempts of an agent's task after the first that failed, unless a setting or the task says otherwise."""

RunIf = Literal["success", "failure", "always"]
Restart = Literal["on-crash", "never"]
Workspace = Literal["inplace", "scratch", "worktree"]


class Task(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One unit of work as the user wrote it, normalised; product fields are described in README."""

    id: str
    """Unique in its state folder; numbers in a file become their text."""
    title: str = ""
    description: str = ""
    """What is to be done; for an agent, the prompt."""
    status: Literal["open", "held", "done"] = "open"
    """Held: taken in, and waits until the user releases it. Done: skipped, and satisfies what depends on it."""
    kind: str = ""
    """One of `KINDS`; empty until the default agent is filled in on submission."""
    command: tuple[str, ...] | str | None = None
    """Argument list, or a string that ``/bin/sh -c`` runs when `shell` is true."""
    shell: bool = False
    callable: str = ""
    """``module:function``."""
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
    stdin: str | None = None
    cwd: str = ""
    """Absolute after reading a file; relative paths there start at the working folder."""
    source_dir: str = ""
    """Absolute folder of the task file, where callables are looked up after `cwd`; empty for tasks that came another way."""
    env: tuple[str, ...] = ()
    set_env: dict[str, str] = {}
    clean_env: bool = False
    priority: float = Priority.NORMAL
    category: str = ""
    tags: tuple[str, ...] = ()
    dependencies: tuple[str, ...] = ()
    run_if: RunIf = "success"
    created_at: float | None = None
    timeout_seconds: float | None = None
    stall_seconds: float | None = None
    max_retries: int | None = None
    restart: Restart = "on-crash"
    idempotent: bool = False
    not_before: float | None = None
    due_at: float | None = None
    version: str = ""
    cache: bool = False
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    verify: tuple[str, ...] | str | None = None
    workspace: Workspace | None = None
    token_budget: int | None = None
    model: str = ""
    agent_options: dict[str, Any] = {}
    external_ref: str = ""
    """Where an imported task came from, such as ``gh-12``."""
    meta: dict[str, Any] = {}
    """Fields of an imported task that have no meaning here; kept, never used."""

    @property
    def is_agent(self) -> bool:
        """Whether the task is a prompt for a coding agent."""
        return self.kind in AGENT_KINDS

    @property
    def is_cacheable(self) -> bool:
        """Whether a stored result may stand in for running it (only where the task says so)."""
        return self.cache or bool(self.inputs) or bool(self.outputs)

    def retries_allowed(self, for_agents: int = AGENT_RETRIES) -> int:
        """How many attempts may follow a first one that failed: its own limit, else `for_agents` for agents and 0 for the rest."""
        if self.max_retries is not None:
            return self.max_retries
        return for_agents if self.is_agent else 0

    @property
    def worker_key(self) -> str:
        """What a warm worker, a breaker and a batch must have in common with the task."""
        if self.kind == "python":
            return f"python:{self.callable.partition(':')[0]}"
        return self.kind

    def digest(self) -> str:
        """Hex sha256 of all that the user wrote; two equal digests are the same task content (but for `source_dir`)."""
        plain = msgspec.structs.replace(self, source_dir="", created_at=None)
        return hashlib.sha256(msgspec.json.encode(plain, order="sorted")).hexdigest()


class Tokens(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Tokens that an agent reported; never estimated."""

    input: int = 0
    """All input tokens, with those read from the provider's cache."""
    cached: int = 0
    output: int = 0
    reasoning: int = 0

    @property
    def total(self) -> int:
        """Input and output; cached and reasoning tokens are parts of those."""
        return self.input + self.output


class OutputSummary(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a task has printed so far; counts are exact, texts are sanitised and redacted."""

    lines: int = 0
    bytes: int = 0
    error_lines: int = 0
    warning_lines: int = 0
    progress: str = ""
    """The last thing that looked like progress: a percentage, ``12/40``, or a ``MI4_STATUS:`` line."""
    last_line: str = ""
    tail: tuple[str, ...] = ()
    """The last lines, oldest first, at most 40."""
    dropped_bytes: int = 0
    """Bytes that the log file did not keep because of its cap."""


class AttemptResult(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How one attempt ended, as the worker saw it."""

    key: int
    """Row key of the task."""
    attempt: int
    outcome: Literal["succeeded", "failed", "timed_out", "cancelled"]
    cause: str = ""
    """A `Cause`, or empty."""
    error: str = ""
    """One sanitised line; empty on success."""
    retryable: bool = True
    """False where another attempt cannot help: the command or callable does not exist."""
    exit_code: int | None = None
    """As a shell would report it: 128 + n for a signal n; None for a task that has no process of its own."""
    started_at: float = 0.0
    duration: float = 0.0
    """Seconds between start and end, by the monotonic clock."""
    value: Any = None
    """JSON value that a callable returned, or an agent's final message."""
    summary: OutputSummary = OutputSummary()
    output: bytes = b""
    """The whole output where it is small (up to `INLINE_OUTPUT` bytes) and has no log file."""
    log: str = ""
    """Name of the log file below ``logs/``; empty where `output` holds everything."""
    tokens: Tokens | None = None
    warm: bool = False
    """Whether the worker had already run a task before."""


INLINE_OUTPUT = 8192
"""Bytes of output that travel and are stored with the result before a log file is opened."""
