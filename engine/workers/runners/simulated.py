"""A stand-in for a coding agent, used only where a task or the user names it: takes time, prints, counts tokens, fails on request.

Everything follows from a seed (the task's id unless given), so two runs agree. It needs no process: the host's clock drives it.
``agent_options``: ``seconds``, ``lines``, ``tokens``, ``seed``, ``error`` (fail with this message; always, or with
``fail_attempts: n`` only in the first n attempts), ``fail_attempts``.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from ...tasks.model import Tokens
from ..protocol import Work
from .job import Outcome, start_failed

_HARD = ("refactor", "comprehensive", "entire", "migrate", "rewrite", "architecture", "redesign", "complex", "all")
_EASY = ("quick", "simple", "typo", "small", "fix", "rename", "trivial")
_STEPS = (
    "reading the code",
    "planning the change",
    "editing",
    "running the tests",
    "reviewing the diff",
    "looking at callers",
)
_SHORTEST, _LONGEST = 0.2, 1.5
_OPTIONS: dict[str, type | tuple[type, ...]] = {
    "seconds": (int, float),
    "lines": int,
    "tokens": int,
    "fail_attempts": int,
    "error": str,
    "seed": (int, str),
}


class SimulatedJob:
    """A simulated agent at work. State: what it has printed so far; the owner is the attempt."""

    output = -1
    watched: tuple[int, ...] = ()
    group = 0
    live = True

    def __init__(self, work: Work, write: Callable[[bytes], None], now: float) -> None:
        """Begin at `now` (monotonic); what it prints goes to `write`."""
        options = work.options
        dice = random.Random(f"{options.get('seed', work.task_id)}:{work.attempt}")
        self._work = work
        self._write = write
        self._dice = dice
        self._seconds = max(0.0, float(options.get("seconds", _duration(work.prompt, dice))))
        self._lines = max(0, int(options.get("lines", max(3, round(self._seconds * 10)))))
        self._tokens = _tokens(work, dice)
        self._began = now
        self._printed = 0

    def due(self) -> float | None:
        """When the next line is printed, or the work ends."""
        return self._moment(self._printed + 1)

    def ready(self, now: float) -> Outcome | None:
        """Print what is due by `now`; the outcome once the time is over."""
        lines = []
        while self._printed < self._lines and now >= self._moment(self._printed + 1):
            self._printed += 1
            lines.append(f"[{self._printed}/{self._lines}] {self._dice.choice(_STEPS)}\n")
        if lines:
            self._write("".join(lines).encode())
        return self._end() if now >= self._moment(self._lines + 1) else None

    def read(self, limit: int) -> bytes:  # noqa: ARG002 -- the interface of all jobs
        """Nothing: what it prints is written at once."""
        return b""

    def look(self, now: float) -> Outcome | None:
        """It is live from the start."""
        return self.ready(now)

    def hold(self) -> None:
        """Nothing stands behind it."""

    def has_begun(self) -> bool:
        """It has, since it was made."""
        return True

    def abort(self) -> Outcome | None:
        """Stop at once."""
        return Outcome(outcome="cancelled")

    def close(self) -> None:
        """Nothing is held."""

    def _moment(self, step: int) -> float:
        """When line `step` is due; the step after the last line is the end."""
        return self._began + self._seconds * step / (self._lines + 1)

    def _end(self) -> Outcome:
        options, attempt = self._work.options, self._work.attempt
        failing = int(options.get("fail_attempts", 0))
        if attempt <= failing or ("error" in options and "fail_attempts" not in options):
            error = options.get("error", f"simulated failure (attempt {attempt} of {failing} that fail)")
            self._write(f"error: {error}\n".encode())
            return Outcome(outcome="failed", error=str(error), tokens=self._tokens)
        return Outcome(outcome="succeeded", value=f"simulated: done in {self._lines} steps", tokens=self._tokens)


def start_simulated(work: Work, write: Callable[[bytes], None], now: float) -> SimulatedJob | Outcome:
    """Begin; options of the wrong name or type are refused in one line."""
    fault = _fault(work.options)
    return start_failed(f"agent_options: {fault}") if fault else SimulatedJob(work, write, now)


def _fault(options: dict[str, Any]) -> str:
    for name, value in options.items():
        wanted = _OPTIONS.get(name)
        if wanted is None:
            return f"a simulated agent has no option {name!r}; it has {', '.join(_OPTIONS)}"
        if isinstance(value, bool) or not isinstance(value, wanted):
            return f"{name} cannot be {value!r}"
    return ""


def _duration(prompt: str, dice: random.Random) -> float:
    """Seconds: longer for long prompts and words of big work."""
    text = prompt.lower()
    weight = 0.2 + min(0.5, len(text) / 1000)
    weight += 0.2 * sum(word in text for word in _HARD) - 0.1 * sum(word in text for word in _EASY)
    return min(_LONGEST, max(_SHORTEST, weight * dice.uniform(0.8, 1.2)))


def _tokens(work: Work, dice: random.Random) -> Tokens:
    """What it claims to have used: the given total, else by the length of the prompt and the dice."""
    total = int(work.options.get("tokens", 500 + 4 * len(work.prompt) + dice.randrange(2000)))
    output = total // 5
    return Tokens(input=total - output, cached=(total - output) // 2, output=output, reasoning=output // 4)
