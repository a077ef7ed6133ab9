"""JSON, strictly."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.tasks.json_text import read_json, read_json_lines

_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.lists(_values, max_size=4), st.sampled_from([None, 1]), st.booleans())
def test_what_json_holds_is_read_as_it_is(values, indent, wrapped):
    records = read_json(json.dumps({"x-note": [1], "tasks": values} if wrapped else values, indent=indent))

    assert records.faults == []
    assert records.items == values
    assert len(records.locate()) == len(values)


def test_lines_of_records_and_of_their_keys():
    text = '{"x-a": [{"q": 1}],\n"tasks": [\n{"id": 1,\n\n"meta": {"id": "{[,:"}, "t": "a\\"]"},\n7, [1],\n{"id":\n2}]}'

    assert read_json(text).locate() == [{"": 3, "id": 3, "meta": 5, "t": 5}, {"": 6}, {"": 6}, {"": 7, "id": 7}]


def test_keys_are_compared_after_escapes():
    assert read_json('[{"a": 1, "\\u0061": 2}]').faults == [(1, "the key 'a' stands twice in one object")]


def test_a_bad_line_hides_no_other():
    records = read_json_lines('{"id": 1}\n{\n\n{"id": 2, "id": 2}\n[NaN]\n' + "[" * 50_000 + '\n{"id": 3}\n')

    assert [item["id"] for item in records.items if isinstance(item, dict)] == [1, 2, 3]
    assert [line for line, _ in records.faults] == [2, 4, 5, 6]
    assert [place[""] for place in records.locate()] == [1, 4, 5, 7]


def test_a_raw_control_character_in_a_text_is_told():
    assert read_json('[{"id": "a\nb"}]').faults[0][1].startswith("not valid JSON: invalid control character")
