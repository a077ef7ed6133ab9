import pytest

from engine.caching.keys import CacheKey
from engine.scheduling.joining import InFlight


@pytest.fixture
def entries(bench, task):
    bench.submit(*(task(name, cache=True) for name in ("a", "b", "c", "other", "free")))
    found = {name: bench.entry(name) for name in ("a", "b", "c", "other", "free")}
    for name in ("a", "b", "c"):
        found[name].cache_key = CacheKey("same", "")
    found["other"].cache_key = CacheKey("different", "")
    return found


def test_the_first_leads_and_the_others_of_the_same_key_follow(entries) -> None:
    flight = InFlight()

    assert flight.join(entries["a"]) is None
    assert flight.join(entries["b"]) is entries["a"]
    assert flight.join(entries["other"]) is None
    assert flight.join(entries["free"]) is None
    assert entries["b"].joined_to == "a"


def test_the_followers_come_back_in_order_when_the_leader_leaves(entries) -> None:
    flight = InFlight()
    for name in ("a", "b", "c"):
        flight.join(entries[name])

    assert flight.leave(entries["a"]) == [entries["b"], entries["c"]]
    assert entries["b"].joined_to == ""
    assert flight.join(entries["c"]) is None, "the next one leads"


def test_a_follower_that_leaves_is_not_given_back(entries) -> None:
    flight = InFlight()
    for name in ("a", "b", "c"):
        flight.join(entries[name])

    assert flight.leave(entries["b"]) == []
    assert flight.leave(entries["a"]) == [entries["c"]]
