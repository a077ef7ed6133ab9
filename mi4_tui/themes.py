"""The looks of the app: three themes of our own, and the filter that makes ``NO_COLOR`` mean no colour.

A theme is data; the contrast of every text colour on every background it can stand on is tested. Colour is never the only sign of
anything: each state has a glyph and a word as well.
"""

from __future__ import annotations

from functools import lru_cache

from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter
from textual.theme import Theme


def _theme(name: str, colours: dict[str, str], *, dark: bool) -> Theme:
    """A theme in which text in a state's colour is exactly the colour given, not one derived from it."""
    texts = {
        f"text-{role}": colours[role] for role in ("primary", "secondary", "accent", "warning", "error", "success")
    }
    return Theme(
        name=name,
        dark=dark,
        text_alpha=1.0,
        variables={
            **texts,
            "foreground-muted": colours["muted"],
            "text-muted": colours["muted"],
            "text": colours["foreground"],
            "input-selection-background": colours["panel"],
            "block-cursor-foreground": colours["foreground"],
            "block-cursor-background": colours["panel"],
            "block-cursor-text-style": "bold",
        },
        **{role: colour for role, colour in colours.items() if role != "muted"},  # type: ignore[arg-type]
    )


DARK = _theme(
    "mi4-dark",
    {
        "background": "#10151c",
        "surface": "#171d26",
        "panel": "#2a3543",
        "foreground": "#e6edf3",
        "muted": "#a7b3c0",
        "primary": "#6cb6ff",
        "secondary": "#b8b5ff",
        "accent": "#5fd7ff",
        "warning": "#f2b838",
        "error": "#ff8a80",
        "success": "#6bd97c",
    },
    dark=True,
)
"""The default."""

LIGHT = _theme(
    "mi4-light",
    {
        "background": "#fbfbf8",
        "surface": "#f1f2ee",
        "panel": "#d9dfe6",
        "foreground": "#1a2028",
        "muted": "#4a5562",
        "primary": "#0a4ea3",
        "secondary": "#5b34a8",
        "accent": "#075985",
        "warning": "#754700",
        "error": "#a31515",
        "success": "#0f5a26",
    },
    dark=False,
)

CONTRAST = _theme(
    "mi4-contrast",
    {
        "background": "#000000",
        "surface": "#000000",
        "panel": "#333333",
        "foreground": "#ffffff",
        "muted": "#e0e0e0",
        "primary": "#ffff00",
        "secondary": "#e2c4ff",
        "accent": "#00ffff",
        "warning": "#ffd000",
        "error": "#ffa8a0",
        "success": "#8cff8c",
    },
    dark=True,
)

THEMES = (DARK, LIGHT, CONTRAST)
DEFAULT = DARK.name
TEXT_ROLES = (
    "foreground",
    "text-muted",
    "text-primary",
    "text-secondary",
    "text-accent",
    "text-warning",
    "text-error",
    "text-success",
)
"""Theme variables that colour text."""
BACKGROUND_ROLES = ("background", "surface", "panel")
"""Theme variables on which text stands."""


def next_theme(name: str) -> str:
    """The theme after this one, in the order of `THEMES`; the first one for a name that is not ours."""
    names = [theme.name for theme in THEMES]
    return names[(names.index(name) + 1) % len(names)] if name in names else names[0]


@lru_cache(maxsize=1024)
def _attributes_only(style: Style) -> Style:
    """The style without its colours; what stood out by its background is shown reversed instead."""
    return Style(
        bold=style.bold,
        dim=None,
        italic=style.italic,
        underline=style.underline,
        reverse=style.reverse,
        strike=style.strike,
    )


class NoColour(LineFilter):
    """Keeps bold, italic, underline and reverse, and no colour at all (Textual's own answer to ``NO_COLOR`` is greys)."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002 - the base class's form
        """The segments without foreground and background colours."""
        return [
            Segment(text, None if style is None else _attributes_only(style), control)
            for text, style, control in segments
        ]
