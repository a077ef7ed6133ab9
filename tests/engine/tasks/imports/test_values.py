"""Single foreign values: nothing raises, and what makes no sense is nothing."""

from engine.tasks.imports.values import id_of, items_of, moment_of, prompt_of, rest_of, tags_of, text_of, title_of
from engine.tasks.records import UNUSABLE, ExactFloat


def test_texts():
    assert [text_of(value) for value in (" a ", 3, None, True, {}, ["a", 1, None], ExactFloat.of("1.10"))] == [
        "a", "3", "", "", "", "- a\n- 1", "1.10",
    ]  # fmt: skip
    assert text_of("a\0b\ud800") == "a\ufffdb?"


def test_titles_are_one_line():
    assert title_of("a\n b") == "a b"
    assert len(title_of("x" * 1000)) == 500


def test_ids():
    assert [id_of(value) for value in (3, " 3 ", ExactFloat.of("3.20"), True, None, [], 1.5)] == [
        "3",
        "3",
        "3.20",
        "",
        "",
        "",
        "",
    ]


def test_times():
    assert moment_of("2026-12-24T12:00:00.123456789Z") == "2026-12-24T12:00:00.123456789Z"
    assert [moment_of(value) for value in ("soon", None, 5, "9999-99-99")] == [None] * 4


def test_lists_prompts_and_tags():
    assert [items_of(value) for value in (None, "", "a", [1])] == [[], [], ["a"], [1]]
    assert prompt_of("T", ("", "T"), ("", "words"), ("Notes", None), ("Design", "d")) == "T\n\nwords\n\nDesign:\nd"
    assert tags_of(["a", "a", "", None, "b"]) == ["a", "b"]


def test_the_rest_is_plain_and_not_deep():
    deep: list = []
    for _ in range(50):
        deep = [deep]
    assert rest_of({"id": 1, "n": ExactFloat.of("1.5"), "u": UNUSABLE, "e": "", "d": {"k": ["v"]}}, {"id"}) == {
        "n": 1.5,
        "d": {"k": ["v"]},
    }
    assert str(rest_of({"deep": deep}, ())).count("[") < 20
