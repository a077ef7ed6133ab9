"""spec-kit's tasks.md: phases, [P], [US1]."""

from engine.tasks.markdown_text import read_outline
from engine.tasks.speckit import MAX_EDGES, is_speckit, records_of_speckit


def tasks(document: str) -> dict[str, dict]:
    return {item["id"]: item for item in records_of_speckit(read_outline(document)).items}


def waits(document: str) -> dict[str, set[str]]:
    return {name: set(item.get("dependencies", ())) for name, item in tasks(document).items()}


def test_it_is_known_by_numbers_with_markers_or_phases():
    assert is_speckit(read_outline("- [ ] T001 [P] a"))
    assert is_speckit(read_outline("- [ ] T001 [US1] a"))
    assert is_speckit(read_outline("## Phase 1: x\n- [ ] T001 a"))
    assert not is_speckit(read_outline("## Part\n- [ ] T001 a"))
    assert not is_speckit(read_outline("## Phase 1\n- [ ] a [P]"))


def test_in_a_phase_what_is_not_parallel_runs_after_all_before_it():
    assert waits("## Phase 1\n- [ ] T001 a\n- [ ] T002 [P] b\n- [ ] T003 [P] c\n- [ ] T004 d\n- [ ] T005 e\n") == {
        "T001": set(),
        "T002": set(),
        "T003": set(),
        "T004": {"T001", "T002", "T003"},
        "T005": {"T004"},
    }


def test_phases_run_in_order_and_a_heading_in_a_phase_is_no_phase():
    found = waits(
        "# Tasks\n## Phase 1\n- [ ] T001 a\n- [ ] T002 [P] b\n## Notes\nnothing\n## Phase 2\n### Tests\n- [ ] T003 [P] c\n### Work\n- [ ] T004 [P] d\n"
        "- [ ] T005 e (depends on T003)\n## Phase 3\n- [ ] T006 f\n"
    )

    assert found == {
        "T001": set(),
        "T002": set(),
        "T003": {"T001", "T002"},
        "T004": {"T001", "T002"},
        "T005": {"T003", "T004"},
        "T006": {"T005"},
    }


def test_what_is_done_has_no_place_in_the_order():
    found = waits(
        "## Phase 1\n- [ ] T001 a\n- [x] T002 b\n- [ ] T003 c\n## Phase 2\n- [x] T004 d\n## Phase 3\n- [ ] T005 e\n"
    )

    assert found["T003"] == {"T001"}, "not satisfied by the done task between them"
    assert found["T005"] == {"T003"}, "nor by a done phase"


def test_items_below_an_item_begin_with_it_and_end_before_it():
    found = waits("## Phase 1\n- [ ] T001 a\n- [ ] T002 b\n  - [ ] T003 c\n- [ ] T004 d\n")

    assert (found["T003"], found["T002"], found["T004"]) == ({"T001"}, {"T001", "T003"}, {"T002"})


def test_markers_become_fields():
    task = tasks("## Phase 1: Setup\n- [ ] T001 [P] [US2] Do it in `a.py` (depends on T002)\n- [ ] T002 [Story] x\n")[
        "T001"
    ]

    assert (task["title"], task["category"], task["tags"]) == ("Do it in a.py", "US2", ["US2"])
    assert task["description"].startswith("Do it in `a.py`")
    assert tasks("## Phase 1: Setup\n- [ ] T002 [Story] x\n")["T002"]["title"] == "[Story] x"


def test_a_wide_border_between_phases_is_kept_small_and_told():
    lines = [f"- [ ] T{n:04} [P] x" for n in range(1000)]
    records = records_of_speckit(read_outline("\n".join(["## Phase 1", *lines[:500], "## Phase 2", *lines[500:]])))
    edges = {item["id"]: item.get("dependencies", []) for item in records.items}

    assert sum(map(len, edges.values())) == 999 < MAX_EDGES
    assert len(edges["T0500"]) == 500
    assert edges["T0999"] == ["T0500"]
    assert records.warnings[0][0] == 503
