import pytest

from engine.scheduling.predictor import DurationPredictor


def test_nothing_is_prefetched_for_a_kind_that_never_ran() -> None:
    predictor = DurationPredictor()

    assert predictor.expected("shell") is None
    assert predictor.depth("shell", 256) == 1


@pytest.mark.parametrize(("duration", "depth"), [(0.0001, 256), (0.001, 40), (0.01, 4), (0.5, 1)])
def test_the_depth_is_forty_milliseconds_of_work(duration, depth) -> None:
    predictor = DurationPredictor()
    predictor.observe("shell", duration)

    assert predictor.depth("shell", 256) == depth


def test_a_slow_task_is_believed_at_once_and_a_quick_one_slowly() -> None:
    predictor = DurationPredictor()
    predictor.observe("shell", 0.001)
    predictor.observe("shell", 1.0)
    assert predictor.depth("shell", 256) == 1

    predictor.observe("shell", 0.001)

    assert predictor.expected("shell") == pytest.approx(0.8, rel=0.01)
