"""Loading a file: its size, and what is told with a place."""

import pytest

from engine.tasks import reading as module
from engine.tasks.reading import Reading, load_text
from engine.tasks.records import Records


def test_a_file_over_the_limit_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "t.json"
    with path.open("wb") as file:
        file.truncate(module.MAX_BYTES + 1)  # a hole: nothing is written

    with pytest.raises(ValueError, match="has 536,870,913 bytes; the limit is 536,870,912"):
        load_text(path)


def test_a_mark_at_the_beginning_is_no_text(tmp_path):
    (tmp_path / "t.json").write_bytes(b"\xef\xbb\xbf[]")

    assert load_text(tmp_path / "t.json") == "[]"


def test_places_are_looked_up_once_and_only_when_asked():
    asked = []

    def locate():
        asked.append(1)
        return [{"": 3, "id": 4}]

    reading = Reading("t.json", Records(locate=locate))
    assert asked == []
    assert (reading.line(0), reading.line(0, "id"), reading.line(0, "title"), reading.line(1)) == (3, 4, 3, None)
    assert asked == [1]


def test_what_is_told_has_its_place():
    reading = Reading("t.json")
    reading.warn(2, "odd")
    reading.skip(None, "no task")

    assert reading.warnings == ["t.json:2: odd"]
    assert [str(skipped) for skipped in reading.skipped] == ["t.json: no task"]
