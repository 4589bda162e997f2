"""What somebody most likely meant who wrote a setting that does not exist, and the value that they meant with it."""

import pytest

from resilience.core.setting_names import as_written, nearest, renamed, unknown_option

BREAKER = ["consecutive", "failure_rate", "open_for"]


@pytest.mark.parametrize(("name", "known", "meant"), [
    ("retries", ["attempts"], "attempts"), ("retries", ["attempts", "retry"], "retry"), (" Fail-Max ", BREAKER, "consecutive"),
    ("rate limiter", ["rate_limit"], "rate_limit"), ("fail_max", ["open_for"], None), ("open_for", BREAKER, None)])
def test_names_of_other_libraries_are_known_however_they_are_written(name, known, meant):
    assert meant == renamed(name, known)


@pytest.mark.parametrize(("name", "known", "near"), [
    ("Open-For", BREAKER, "open_for"), ("open_fro", BREAKER, "open_for"), ("OPEN FOR", BREAKER, "open_for"),
    ("xyz", BREAKER, None), ("reset_timeout", BREAKER, "open_for")])
def test_the_nearest_name(name, known, near):
    assert near == nearest(name, known)


@pytest.mark.parametrize(("name", "near", "known", "value", "written"), [
    ("max_retries", "attempts", ["attempts"], 3, "attempts=4"), ("Retries", "attempts", ["attempts"], 3, "attempts=4"),
    ("max_attempts", "attempts", ["attempts"], 3, "attempts=3"), ("max_retries", "retry", ["attempts", "retry"], 3, "retry=3"),
    ("failure_rate_threshold", "failure_rate", BREAKER, 50, "failure_rate=0.5"),
    ("failure_rate_threshold", "failure_rate", BREAKER, 1, "failure_rate=1"),
    ("failure_rate_threshold", "failure_rate", BREAKER, 0.5, "failure_rate=0.5"),
    ("failure_rate_threshold", "failure_rate", BREAKER, 2, "failure_rate=0.02"),
    ("failure_threshold", "consecutive", BREAKER, 5, "consecutive=5, failure_rate=None"),
    ("fail_max", "consecutive", ["consecutive"], 5, "consecutive=5"), ("reset_timeout", "open_for", BREAKER, 30.0, "open_for=30"),
    ("reset_timeout", "open_for", BREAKER, True, "open_for"), ("reset_timeout", "open_for", BREAKER, "30", "open_for"),
    ("open_fro", "open_for", BREAKER, 30, "open_for")])
def test_a_value_is_translated_from_how_the_other_library_counts(name, near, known, value, written):
    assert written == as_written(name, near, known, value)


def test_an_error_names_the_nearest_setting_or_all_of_them():
    near = unknown_option("fail_max", BREAKER, "CircuitBreaker", 5)
    none = unknown_option("xyz", ["b", "a"], "Some")

    assert "CircuitBreaker has no setting 'fail_max'; did you mean consecutive=5, failure_rate=None?" == str(near)
    assert ("Some has no setting 'xyz'; it has a, b", "xyz") == (str(none), none.option)
