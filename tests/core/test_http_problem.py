"""What an HTTP client is told of a refusal."""

import json
import math
import random

import pytest

from resilience import (
    BulkheadFullError,
    CallTimeoutError,
    CircuitOpenError,
    DeadlineExceededError,
    NoTimeLeftError,
    RateLimitedError,
    RejectedError,
    ThrottledError,
)
from resilience.core.http_problem import http_problem
from resilience.errors import FallbackRejectedError, ThreadPoolFullError
from tests.seeds import over_seeds

KEY = "billing-db-7"
STATUSES = [
    (CircuitOpenError(KEY, 4.2), 503, 5), (CircuitOpenError(KEY, None), 503, None), (BulkheadFullError(KEY), 503, None),
    (ThreadPoolFullError(KEY), 503, None), (ThrottledError(KEY), 503, None), (FallbackRejectedError(KEY), 503, None),
    (RejectedError(KEY, 2.0), 503, 2), (RateLimitedError(KEY, 0.001), 429, 1), (RateLimitedError(KEY, 0.0), 429, 1),
    (NoTimeLeftError(KEY), 504, None), (CallTimeoutError(KEY, 0.5), 504, None),
    (DeadlineExceededError(KEY, 0.5, 2.0), 504, None),
]


@pytest.mark.parametrize(("error", "status", "retry_after"), STATUSES, ids=lambda value: type(value).__name__)
def test_each_refusal_has_its_status_and_says_after_how_many_whole_seconds_to_ask_again(error, status, retry_after):
    problem = http_problem(error)
    assert (problem.status, problem.retry_after_s, problem.command) == (status, retry_after, KEY)


@pytest.mark.parametrize("error", [error for error, *_ in STATUSES], ids=lambda error: type(error).__name__)
def test_a_body_holds_the_key_of_a_command_only_if_it_is_told_to(error):
    problem = http_problem(error)
    assert KEY.encode() not in problem.body()
    shown = json.loads(problem.body(show_command=True))
    assert shown == {**json.loads(problem.body()), "command": KEY}
    assert {name: shown[name] for name in ("type", "title", "status")} == {
        "type": "about:blank", "title": problem.title, "status": problem.status}


@pytest.mark.parametrize("error", [
    RuntimeError("x"), TimeoutError("of somebody else"), KeyboardInterrupt(), GeneratorExit(),
    ExceptionGroup("mixed", [CircuitOpenError(KEY), RuntimeError("x")]),
    ExceptionGroup("deep", [CircuitOpenError(KEY), ExceptionGroup("inner", [LookupError()])]),
    BaseExceptionGroup("interrupted", [CircuitOpenError(KEY), KeyboardInterrupt()])], ids=repr)
def test_what_is_not_or_not_only_a_refusal_is_none_of_its_business(error):
    assert http_problem(error) is None


@pytest.mark.parametrize("wait", [math.inf, -math.inf, math.nan, -1.0, "5", None])
def test_a_wait_without_an_end_or_a_sense_is_not_told(wait):
    assert http_problem(RejectedError(KEY, wait)).retry_after_s is None


def test_of_equally_grave_parts_of_a_group_the_first_is_told():
    problem = http_problem(ExceptionGroup("both", [
        RateLimitedError("a", 1.0), BulkheadFullError("b"), CircuitOpenError("c", 9.0)]), "Billing")
    assert problem.command == "b"
    assert problem.detail == "Billing has too many requests under way"
    assert problem.retry_after_s == 9


@over_seeds(200)
def test_a_group_is_answered_by_its_gravest_part_and_with_the_longest_wait(seed):
    rng = random.Random(seed)
    leaves = []

    def grown(depth):
        members = [grown(depth - 1) if depth and rng.random() < 0.3 else rng.choice(STATUSES)[0]
                   for _ in range(rng.randint(1, 4))]
        leaves.extend(each for each in members if not isinstance(each, ExceptionGroup))
        return ExceptionGroup("several", members)

    problem = http_problem(grown(3))

    of = {id(error): (status, wait) for error, status, wait in STATUSES}
    statuses, waits = zip(*(of[id(leaf)] for leaf in leaves), strict=True)
    assert problem.status == (504 if 504 in statuses else 503 if 503 in statuses else 429)
    assert problem.retry_after_s == max((wait for wait in waits if wait is not None), default=None)
