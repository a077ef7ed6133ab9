"""Logs read by pages."""

import pytest

from mi4_tui.log_file import KEPT_PAGES, PAGE, LogFile


def read_all(log):
    return [log.line(number) for number in range(log.lines)]


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"one", ["one"]),
        (b"one\n", ["one"]),
        (b"one\n\nthree", ["one", "", "three"]),
        (b"\n", [""]),
        (b"10%\r20%\r30%\n", ["30%"]),
        (b"windows\r\n", ["windows"]),
        (b"\xff\xfe bad\n", ["\ufffd\ufffd bad"]),
        (b"\x1b[31mred\x1b[0m \x1b]52;c;eA==\x07\n", ["red "]),
    ],
)
def test_lines(data, lines):
    log = LogFile(data)
    log.extend()
    assert read_all(log) == lines


def test_any_line_of_many_pages(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"".join(b"line %d\n" % n for n in range(200_000)))
    log = LogFile(path)
    assert log.extend()
    assert log.lines == 200_000
    assert log.bytes == path.stat().st_size
    assert [log.line(n) for n in (0, 1, 99_999, 199_999)] == ["line 0", "line 1", "line 99999", "line 199999"]
    assert log.line(200_000) == log.line(-1) == ""
    for number in range(0, 200_000, 500):
        assert log.line(number) == f"line {number}"
    assert len(log._kept) <= KEPT_PAGES
    log.close()


def test_a_line_longer_than_a_page_is_shown_in_pieces():
    log = LogFile(b"x" * (2 * PAGE + 10) + b"\nend\n")
    log.extend()
    assert log.lines == 4
    assert log.line(3) == "end"
    assert len(log.line(0)) == PAGE


def test_what_is_appended_is_found_also_within_the_last_line(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"one\ntw")
    log = LogFile(path)
    log.extend()
    assert read_all(log) == ["one", "tw"]
    assert not log.extend()
    with path.open("ab") as file:
        file.write(b"o\nthree\n")
    assert log.extend()
    assert read_all(log) == ["one", "two", "three"]
    log.close()


def test_growing_by_small_steps_equals_reading_at_once(tmp_path):
    path = tmp_path / "log"
    whole = b"".join(b"%d %s\n" % (n, b"y" * (n % 300)) for n in range(3000))
    path.write_bytes(b"")
    log = LogFile(path)
    for start in range(0, len(whole), 7919):
        with path.open("ab") as file:
            file.write(whole[start : start + 7919])
        log.extend()
    assert read_all(log) == whole.decode().splitlines()
    log.close()


def test_indexing_can_be_done_in_steps():
    log = LogFile(b"a\n" * PAGE)
    assert log.extend(pages=1)
    assert log.lines == PAGE // 2
    assert log.extend(pages=1)
    assert log.lines == PAGE
    assert not log.extend(pages=1)


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        LogFile(tmp_path / "none")
