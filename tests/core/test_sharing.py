"""One object for all that are equal."""

from resilience.core.sharing import shared


def test_of_values_that_are_equal_the_first_stands_for_all():
    first, second = frozenset({"timeout", "a test"}), frozenset({"timeout", "a test"})
    assert first is not second
    assert shared(first) is first
    assert shared(second) is first


def test_no_more_than_512_values_are_kept_and_that_asked_for_longest_ago_is_forgotten():
    first, second = frozenset({"test", "0"}), frozenset({"test", "0"})
    assert shared(first) is first
    for number in range(1, 512):
        shared(frozenset({"test", str(number)}))
    assert shared(second) is first
    for number in range(512, 1024):
        shared(frozenset({"test", str(number)}))

    assert shared(second) is second
