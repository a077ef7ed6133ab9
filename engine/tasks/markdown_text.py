"""The boxes of a Markdown document: which items it lists, below which headings and which other items, and what the rest of it is.

Read line by line, as far as lists with boxes need it: headings, code blocks, comments and front matter are known, all other text is not
interpreted. What is no item is told with its lines, so that nothing is lost unseen.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from .records import MAX_DEPTH, MAX_LINE, show, too_long

_ITEM = re.compile(r"(?P<indent>[ \t]*)(?:[-*+]|[0-9]{1,9}[.)])[ \t]+\[(?P<mark>[^\]\[])\](?:[ \t]+(?P<text>.*))?$")
_ALMOST = re.compile(r"[ \t]*(?:[-*+]|[0-9]{1,9}[.)])[ \t]*\[[ \txX]*\](?![(\[:])")
_BULLET = re.compile(r"[ \t]*(?:[-*+]|[0-9]{1,9}[.)])[ \t]+\S")
_HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*))?$")
_FENCE = re.compile(r"[ \t]*(`{3,}|~{3,})")
_UNDERLINE = re.compile(r" {0,3}(=+|-+)[ \t]*$")
_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")
_MARKUP = re.compile(r"(?<!\\)(\*\*|__|`)")
_NOT_WORD = re.compile(r"[^\w]+")


@dataclass(slots=True)
class Item:
    """One line with a box."""

    line: int
    text: str
    """What stands behind the box."""
    mark: str
    """What stands in the box: a blank, ``x``, or something else."""
    headings: tuple[str, ...] = ()
    """The headings above it, outermost first."""
    parent: Item | None = None
    indent: int = 0
    depth: int = 0
    """How many items it stands below."""
    body: list[str] = field(default_factory=list)
    """The lines below it that belong to it."""

    @property
    def is_done(self) -> bool:
        """Whether the box is ticked."""
        return self.mark in "xX"

    def above(self) -> Iterator[Item]:
        """The items that it stands below, innermost first."""
        item = self.parent
        while item is not None:
            yield item
            item = item.parent


@dataclass(slots=True)
class Outline:
    """A Markdown document after reading."""

    items: list[Item] = field(default_factory=list)
    faults: list[tuple[int | None, str]] = field(default_factory=list)
    warnings: list[tuple[int | None, str]] = field(default_factory=list)
    skipped: list[tuple[int | None, str]] = field(default_factory=list)
    headings: list[str] = field(default_factory=list)
    """All headings, in order."""


def has_boxes(text: str) -> bool:
    """Whether there is an item with a box in the first thousand lines."""
    return any(_ITEM.match(line) for line in text.split("\n", 1000)[:1000] if len(line) < 1000)


def read_outline(text: str) -> Outline:
    """All items of a document."""
    reader = _Reader()
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_LINE:
            reader.outline.faults.append((number, too_long(len(line))))
        elif "\0" in line:
            reader.outline.faults.append((number, "holds a NUL character, which no text does"))
        else:
            reader.take(number, line.rstrip("\r").expandtabs(4) if line.startswith(("\t", " ")) else line.rstrip("\r"))
    reader.end()
    return reader.outline


class _Reader:
    """Reads line by line. State: the headings and items that the next line stands below, and the block that is open."""

    def __init__(self) -> None:
        self.outline = Outline()
        self._headings: list[tuple[int, str]] = []
        self._items: list[Item] = []
        self._blank = False
        self._block = ""
        """What ends the open code block, comment or front matter; empty where none is open."""
        self._begun = 0
        self._in_item = False
        self._run: tuple[int, int, str] | None = None
        """First and last line, and the kind, of the text that is being skipped."""
        self._prose: tuple[int, str] = (0, "")
        """The last line of text outside of items, which an underline makes a heading."""

    def take(self, number: int, line: str) -> None:
        """Digest one line."""
        if self._block:
            self._take_in_block(number, line)
        elif not line.strip():
            self._blank = True
            for item in self._items[-1:]:
                item.body.append("")
        elif not self._take_opening(number, line):
            self._take_text(number, line)
            self._blank = False

    def end(self) -> None:
        """The document is over."""
        if self._block:
            what = {"-->": "comment", "---": "front matter"}.get(self._block, "code block")
            self.outline.warnings.append(
                (self._begun, f"the {what} that begins here never ends; all below is part of it")
            )
        self._flush()

    # Blocks whose lines mean nothing here

    def _take_opening(self, number: int, line: str) -> bool:
        """Whether the line opens a block, which is then open."""
        fence = _FENCE.match(line)
        stripped = line.strip()
        if number == 1 and stripped == "---":
            self._block = "---"
        elif fence:
            self._block = fence[1]
        elif stripped.startswith("<!--"):
            if "-->" not in stripped:
                self._block = "-->"
        else:
            return False
        self._begun = number
        self._in_item = bool(fence) and self._belongs(line)
        self._keep(number, line, "a code block" if fence else "front matter" if self._block == "---" else "a comment")
        return True

    def _take_in_block(self, number: int, line: str) -> None:
        stripped = line.strip()
        is_fence = self._block[0] in "`~"
        kind = "a code block" if is_fence else "a comment" if self._block == "-->" else "front matter"
        self._keep(number, line, kind)
        if is_fence:
            over = stripped.startswith(self._block) and not stripped.strip(self._block[0])
        else:
            over = self._block in stripped if self._block == "-->" else stripped == self._block
        if over:
            self._block = ""

    def _keep(self, number: int, line: str, kind: str) -> None:
        if self._in_item:
            self._items[-1].body.append(line)
        else:
            self._skip(number, kind)

    # Text

    def _take_text(self, number: int, line: str) -> None:
        heading = _HEADING.match(line)
        item = _ITEM.match(line)
        underline = _UNDERLINE.match(line)
        if heading:
            self._take_heading(len(heading[1]), heading[2] or "")
        elif item:
            self._take_item(number, item)
        elif underline and not self._blank and self._prose[0] == number - 1 > 0:
            self._take_heading(1 if underline[1][0] == "=" else 2, self._prose[1])
        elif _ALMOST.match(line):
            self.outline.faults.append(
                (number, f"looks like an item with a box; write '- [ ] text', not {show(line.strip())}")
            )
        elif self._belongs(line):
            self._items[-1].body.append(line)
        elif _BULLET.match(line):
            self._leave(number, line, "a list item without a box")
        else:
            self._leave(number, line, "text outside of the items")

    def _belongs(self, line: str) -> bool:
        """Whether a line is part of the last item: indented deeper, or the next line of its paragraph."""
        if not self._items:
            return False
        if len(line) - len(line.lstrip()) > self._items[-1].indent:
            return True
        return not self._blank and not _BULLET.match(line)

    def _leave(self, number: int, line: str, kind: str) -> None:
        self._items.clear()
        self._prose = (number, line.strip()) if kind.startswith("text") else (0, "")
        self._skip(number, kind)

    def _take_heading(self, level: int, text: str) -> None:
        self._items.clear()
        title = plain(text.rstrip("# \t") if text.rstrip().endswith("#") else text)
        self._headings = [above for above in self._headings if above[0] < level]
        if title:
            self._headings.append((level, title))
            self.outline.headings.append(title)

    def _take_item(self, number: int, match: re.Match[str]) -> None:
        indent, text = len(match["indent"]), (match["text"] or "").strip()
        while self._items and self._items[-1].indent >= indent:
            self._items.pop()
        if not text:
            self._skip(number, "an item without a text")
            return
        parent = self._items[-1] if self._items else None
        item = Item(number, text, match["mark"], tuple(title for _, title in self._headings), parent, indent)
        item.depth = parent.depth + 1 if parent else 0
        if item.depth >= MAX_DEPTH:
            self.outline.faults.append((number, f"nested deeper than {MAX_DEPTH} levels"))
            return
        self._items.append(item)
        self.outline.items.append(item)

    # What is no item

    def _skip(self, number: int, kind: str) -> None:
        """Lines of one kind that follow each other are told as one."""
        if self._run and self._run[2] == kind and self._run[1] == number - 1:
            self._run = (self._run[0], number, kind)
        else:
            self._flush()
            self._run = (number, number, kind)

    def _flush(self) -> None:
        if self._run:
            first, last, kind = self._run
            self.outline.skipped.append((first, kind if first == last else f"{kind} (to line {last})"))
        self._run = None


def plain(text: str) -> str:
    """The text without bold and code marks, and without the backslashes that keep a character from being one."""
    return _ESCAPED.sub(r"\1", _MARKUP.sub("", text)).strip()


def slug(text: str, limit: int) -> str:
    """The words of a text as part of an id, at most `limit` characters; the same text always gives the same."""
    words = _NOT_WORD.sub("-", text.casefold()).strip("-_")
    if words and len(words) <= limit and words.isprintable():
        return words
    mark = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:6]
    words = words[: limit - 7].rstrip("-_") if words.isprintable() else ""
    return f"{words}-{mark}" if words else f"item-{mark}"
