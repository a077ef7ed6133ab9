"""Keeps secret values out of everything that is stored or shown: values of the environment, found by their names.

Best effort, and said so to users: a task that encodes or splits a secret gets it through.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

MASK = b"[redacted]"
SHORTEST = 8
"""Bytes; shorter values are too likely to be ordinary words."""
_NAME = re.compile(r"(?i)(?:key|token|secret|passw(?:or)?d|passphrase|credential)s?(?:$|_)")
_URL_PASSWORD = re.compile(r"://[^/\s:@]*:([^/\s@]+)@")


def secret_values(environ: Mapping[str, str]) -> set[bytes]:
    """Values that must not be shown: of variables named like secrets, and passwords inside URLs.

    A value of several lines also counts line by line, since output is read by lines.
    """
    found: set[str] = set()
    for name, value in environ.items():
        if _NAME.search(name):
            found.add(value.strip())
            found.update(line.strip() for line in value.splitlines() if not line.startswith("-----"))
        found.update(_URL_PASSWORD.findall(value))
    encoded = (value.encode("utf-8", "surrogateescape") for value in found)
    return {value for value in encoded if len(value) >= SHORTEST}


class Redactor:
    """Masks known values in a byte stream, also where a value lies across the border of two chunks.

    State: the end of the stream that may be the beginning of a secret; owned by whoever feeds it.
    """

    __slots__ = ("_held", "_longest", "_secrets")

    def __init__(self, secrets: Iterable[bytes] = ()) -> None:
        self._secrets = tuple(sorted(set(secrets), key=len, reverse=True))
        self._longest = max(map(len, self._secrets), default=0)
        self._held = b""

    def __bool__(self) -> bool:
        return bool(self._secrets)

    def feed(self, data: bytes) -> bytes:
        """What can be passed on now; up to the length of the longest secret is held back until the next call or `flush`."""
        if not self._secrets:
            return data
        data = self._mask(self._held + data)
        keep = self._possible_start(data)
        self._held = data[keep:]
        return data[:keep]

    def flush(self) -> bytes:
        """What was held back; the stream has ended."""
        held, self._held = self._held, b""
        return held

    def clean(self, data: bytes) -> bytes:
        """`data`, which is complete in itself, masked; the stream is not touched."""
        return self._mask(data)

    def clean_text(self, text: str) -> str:
        """`text` masked."""
        if not self._secrets:
            return text
        return self._mask(text.encode("utf-8", "replace")).decode("utf-8", "replace")

    def _mask(self, data: bytes) -> bytes:
        for secret in self._secrets:
            if secret in data:
                data = data.replace(secret, MASK)
        return data

    def _possible_start(self, data: bytes) -> int:
        """Index from which the rest of `data` could be the beginning of a secret; its length when it could not."""
        first = max(0, len(data) - self._longest + 1)
        best = len(data)
        for secret in self._secrets:
            at = data.find(secret[:1], max(first, len(data) - len(secret) + 1))
            while 0 <= at < best:
                if secret.startswith(data[at:]):
                    best = at
                    break
                at = data.find(secret[:1], at + 1)
        return best
