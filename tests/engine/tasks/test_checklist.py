"""Markdown checklists as tasks: ids, categories, parents, dependencies."""

import pytest

from engine.tasks.checklist import dependencies_in, read_checklist, split_id


def tasks(document: str) -> dict[str, dict]:
    records = read_checklist(document)
    assert records.faults == []
    return {item["id"]: item for item in records.items}


def test_ids_are_made_of_headings_and_text_and_stay():
    before = tasks("# Shop\n## Till\n- [ ] Open **it**!\n  - [ ] Charge\n")
    after = tasks("# Shop\nnew words\n- [ ] new\n## Till\n- [ ] other\n- [x] Open **it**!\n  - [ ] Charge\n")

    assert list(before) == ["shop/till/open-it", "shop/till/open-it/charge"]
    assert set(before) < set(after)


def test_equal_texts_get_a_number_and_never_the_id_of_another():
    assert list(tasks("- [ ] a\n- [ ] a\n- [ ] x {a-2}\n- [ ] A!\n")) == ["a", "a-3", "a-2", "a-4"]


def test_a_long_path_makes_no_long_id():
    (task_id,) = tasks("".join(f"{'#' * n} {'heading words ' * 9}\n" for n in range(1, 7)) + f"- [ ] {'text ' * 99}\n")

    assert len(task_id) <= 200


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("T012 do it", ("T012", "do it")),
        ("**T012** do it", ("T012", "do it")),
        ("T012: do it", ("T012", "do it")),
        ("#12 do it", ("12", "do it")),
        ("{a/b.c} do it", ("a/b.c", "do it")),
        ("do it {#own-id}", ("own-id", "do it")),
        ("T012", ("", "T012")),
        ("T-shirt to buy", ("", "T-shirt to buy")),
        ("#12", ("", "#12")),
        ("use {two words}", ("", "use {two words}")),
        ("{}", ("", "{}")),
    ],
)
def test_an_item_may_name_itself(text, found):
    assert split_id(text) == found


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("x (depends on T012, T013)", ["T012", "T013"]),
        ("x (depends on #7 and {own})", ["7", "own"]),
        ("x (after T001-T003)", ["T001", "T002", "T003"]),
        ("x (Blocked by: T1; T2)", ["T1", "T2"]),
        ("x (after lunch)", []),
        ("x depends on T1", []),
    ],
)
def test_dependencies(text, names):
    assert dependencies_in(text) == (names, "")


def test_what_looks_like_a_dependency_and_is_none_is_a_warning():
    assert read_checklist("- [ ] x (depends on the weather)").warnings == [
        (1, "'(depends on the weather)' names no task that can be waited for; write ids such as T012, #12 or {id}")
    ]
    assert "T1-T99999" in dependencies_in("(depends on T1-T99999)")[1]


def test_a_parent_waits_for_its_children_and_they_start_when_it_could():
    found = tasks("- [ ] T1 a (depends on T9)\n  - [ ] T2 b\n    - [x] T3 c\n- [ ] T9 z\n")

    assert found["T1"]["dependencies"] == ["T9", "T2"]
    assert found["T2"]["dependencies"] == ["T9", "T3"]
    assert [found[name]["status"] for name in ("T1", "T3")] == ["open", "done"]


def test_the_prompt_says_what_it_is_about():
    found = tasks(
        "# Shop\n## Till\n- [ ] T1 Open *it*\n  with care\n    - a note\n  - [ ] T2 Charge (depends on T9)\n- [ ] T9 z\n"
    )

    assert found["T1"]["description"] == "Open *it*\n\nwith care\n  - a note\n\nPart of: Shop > Till"
    assert found["T2"]["description"].endswith("Part of: Shop > Till > Open *it*")
    assert (found["T2"]["title"], found["T2"]["category"]) == ("Charge", "Till")


def test_an_unknown_mark_is_held():
    records = read_checklist("- [/] a\n")

    assert records.items[0]["status"] == "held"
    assert records.warnings == [(1, "the mark '/' means neither open nor done: the task is held")]


def test_lines_are_known():
    assert read_checklist("# x\n\n- [ ] a\n- [ ] b\n").locate() == [{"": 3}, {"": 4}]
