"""Stored output becomes lines that are safe to print."""

import pytest

from engine.session.log_text import LineCutter, LogFollower, printed_lines
from engine.session.protocol import Reply


async def lines_of(reply):
    return [line async for lines in printed_lines(reply) for line in lines]


async def test_small_output_travels_in_the_reply():
    assert await lines_of(Reply(data={"path": "", "output": b"one\ntwo\nthree"})) == ["one", "two", "three"]


async def test_nothing_printed_is_no_line():
    assert await lines_of(Reply(data={"path": "", "output": b""})) == []


async def test_large_output_is_read_from_its_log(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(b"".join(b"line %d\n" % number for number in range(30_000)))
    found = await lines_of(Reply(data={"path": str(log)}))
    assert len(found) == 30_000
    assert found[0] == "line 0"
    assert found[-1] == "line 29999"


async def test_a_log_that_is_not_there_yet_has_no_lines(tmp_path):
    assert await lines_of(Reply(data={"path": str(tmp_path / "log")})) == []


async def test_a_log_that_grows_is_read_once(tmp_path):
    log, follower = tmp_path / "log", LogFollower()

    async def fresh():
        return [line async for lines in follower.read(str(log)) for line in lines]

    assert await fresh() == []
    log.write_bytes(b"one\ntw")
    assert await fresh() == ["one"]
    assert await fresh() == []
    log.write_bytes(b"one\ntwo\nthree")
    assert await fresh() == ["two"]
    assert follower.cutter.end() == ["three"]


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_chunks_may_be_cut_anywhere(size):
    data = "grün\nblåbær\n\nx".encode()
    cutter = LineCutter()
    lines = [line for at in range(0, len(data), size) for line in cutter.feed(data[at : at + size])]
    assert [*lines, *cutter.end()] == ["grün", "blåbær", "", "x"]


def test_what_would_drive_a_terminal_is_gone():
    (line,) = LineCutter().feed(b"\x1b]0;owned\x07red \x1b[31mtext\x9b\xe2\x80\xae\n")
    assert "\x1b" not in line
    assert "\u202e" not in line
    assert "text" in line


def test_a_redrawn_line_shows_its_end():
    assert LineCutter().feed(b"10%\r50%\r100%\r\n") == ["100%"]


def test_output_without_line_ends_is_cut():
    cutter = LineCutter()
    lines = cutter.feed(b"x" * 200_000)
    assert [len(line) for line in lines] == [200_000]
    assert cutter.end() == []
