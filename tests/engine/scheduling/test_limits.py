from engine.scheduling.limits import CategoryLimits


def test_a_category_is_blocked_at_its_limit_and_free_again_below() -> None:
    limits = CategoryLimits({"build": 2})
    limits.take("build")
    assert limits.blocked == set()

    limits.take("build")
    assert limits.blocked == {"build"}
    assert limits.reason("build") == "category 'build' is at its limit of 2"

    limits.give_back("build")
    assert limits.blocked == set()
    assert limits.active("build") == 1


def test_a_category_without_a_limit_is_never_blocked() -> None:
    limits = CategoryLimits({"build": 1})
    for _ in range(50):
        limits.take("docs")

    assert limits.blocked == set()
    assert limits.reason("docs") == ""


def test_a_paused_category_stays_blocked_below_its_limit() -> None:
    limits = CategoryLimits({"build": 5})
    limits.pause("build")
    limits.take("build")
    limits.give_back("build")
    assert limits.blocked == {"build"}

    limits.resume("build")

    assert limits.blocked == set()
