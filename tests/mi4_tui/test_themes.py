"""Our themes can be read, and NO_COLOR means none."""

import pytest
from rich.segment import Segment
from rich.style import Style
from textual.color import Color

from mi4_tui import themes


def luminance(colour):
    parts = [value / 255 for value in colour.rgb]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, two):
    lighter, darker = sorted((luminance(one), luminance(two)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_contrast_is_reckoned_right():
    assert contrast(Color.parse("#ffffff"), Color.parse("#000000")) == pytest.approx(21.0)
    assert contrast(Color.parse("#777777"), Color.parse("#ffffff")) == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", themes.THEMES, ids=lambda theme: theme.name)
@pytest.mark.parametrize("background", themes.BACKGROUND_ROLES)
@pytest.mark.parametrize("text", themes.TEXT_ROLES)
def test_text_can_be_read_on_every_background(theme, text, background):
    colours = theme.to_color_system().generate()
    least = 7.0 if theme is themes.CONTRAST else 4.5
    assert contrast(Color.parse(colours[text]), Color.parse(colours[background])) >= least


@pytest.mark.parametrize("theme", themes.THEMES, ids=lambda theme: theme.name)
def test_borders_can_be_seen(theme):
    colours = theme.to_color_system().generate()
    background, foreground = Color.parse(colours["background"]), Color.parse(colours["foreground"])
    quiet = background.blend(foreground, 0.5)
    assert contrast(quiet, background) >= 3.0
    assert contrast(Color.parse(colours["primary"]), background) >= 3.0


def test_next_theme_goes_round():
    names = [theme.name for theme in themes.THEMES]
    assert [themes.next_theme(name) for name in names] == [*names[1:], names[0]]
    assert themes.next_theme("nord") == names[0]


def test_no_colour_keeps_attributes_only():
    style = Style(color="red", bgcolor="blue", bold=True, underline=True)
    (segment,) = themes.NoColour().apply([Segment("x", style)], Color.parse("black"))
    assert segment.style.color is None
    assert segment.style.bgcolor is None
    assert segment.style.bold
    assert segment.style.underline
    assert themes.NoColour().apply([Segment("x")], Color.parse("black")) == [Segment("x")]


async def test_no_color_sends_no_colour_codes(session, open_app, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    app = open_app(session)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        styles = [
            segment.style for strip in app.screen._compositor.render_strips() for segment in strip if segment.style
        ]
        shown = [
            filtered
            for style in styles
            for filtered in app.get_line_filters()[0].apply([Segment("x", style)], Color.parse("black"))
        ]
        assert styles
        assert len(app.get_line_filters()) == 1
        assert all(segment.style.color is None and segment.style.bgcolor is None for segment in shown)
