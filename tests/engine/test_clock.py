from engine.clock import SYSTEM_CLOCK


def test_monotonic_time_does_not_go_back_and_wall_time_is_of_this_century() -> None:
    first = SYSTEM_CLOCK.monotonic()

    assert SYSTEM_CLOCK.monotonic() >= first
    assert SYSTEM_CLOCK.time() > 1_500_000_000
