import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.scheduling.scoring import Scored, score_at

HOUR = 3600.0
NOW = 1_800_000_000.0


def test_every_term_of_the_formula_is_counted() -> None:
    scored = Scored(
        priority=300, created_at=NOW - 2 * HOUR, retries_left=3, has_timeout=True, dependencies=2, manual=1.5
    )

    terms = scored.terms(NOW)

    assert (terms.priority, terms.age, terms.retries, terms.timeout, terms.dependencies, terms.manual) == (
        300, 20, 15, 20, -6, 1.5,
    )  # fmt: skip
    assert terms.total == pytest.approx(350.5)


def test_a_task_of_the_future_has_no_negative_age() -> None:
    assert Scored(priority=200, created_at=NOW + HOUR).terms(NOW).age == 0


scored_tasks = st.builds(
    Scored,
    priority=st.floats(100, 400),
    created_at=st.floats(NOW - 1e6, NOW),
    retries_left=st.integers(0, 9),
    has_timeout=st.booleans(),
    dependencies=st.integers(0, 50),
    manual=st.floats(-100, 100),
)


@given(scored_tasks, st.floats(0, 1e6))
def test_the_static_base_gives_the_same_score_as_the_terms(scored: Scored, later: float) -> None:
    assert score_at(scored.base(), NOW + later) == pytest.approx(scored.terms(NOW + later).total, abs=1e-5)
