"""Messages of the mistakes that a newcomer makes in the first hour said something else than what to write.

A policy's setting that was given a number complained of a pipeline that nobody wrote; a bare exception class was
refused by ``ignore`` and taken by ``on``; pybreaker's and tenacity's names led to a wrong setting; a fallback that
could not take the arguments of its function was accepted, and failed in the outage that it was there for.
"""

import asyncio
import functools
import inspect
import itertools
import pickle
import random
from datetime import timedelta
from unittest.mock import Mock

import pytest

from resilience import (
    AdaptiveLimit,
    Bulkhead,
    Cache,
    CallTimeoutError,
    Chaos,
    CircuitBreaker,
    ConfigError,
    DeadlineExceededError,
    Fallback,
    Hedge,
    Pipeline,
    RateLimit,
    RateLimitedError,
    Registry,
    Retry,
    ThreadPool,
    Throttle,
    Timeout,
    adaptive_limit,
    bulkhead,
    cache,
    chaos,
    circuit_breaker,
    command,
    configure,
    deadline,
    hedge,
    retry,
    throttle,
    timeout,
)
from resilience.core.parameters import can_share_a_call, parameters_called
from resilience.testing import VirtualTimeLoop

SETTINGS = {"retry": (Retry, "Retry(attempts=3)"), "breaker": (CircuitBreaker, "CircuitBreaker(consecutive=3)"),
            "cache": (Cache, "Cache(ttl=3)"), "throttle": (Throttle, "Throttle(k=3)"),
            "rate_limit": (RateLimit, "RateLimit(3)"), "adaptive_limit": (AdaptiveLimit, "AdaptiveLimit(initial=3)"),
            "hedge": (Hedge, "Hedge(idempotent=True, delay=3)"), "chaos": (Chaos, "Chaos(latency=3)"),
            "pool": (ThreadPool, "ThreadPool(3)")}


def said(make, kind=ConfigError):
    with pytest.raises(kind) as caught:
        make()
    return str(caught.value)


@pytest.mark.parametrize(("name", "policy", "guess"), [(name, *rest) for name, rest in SETTINGS.items()])
def test_a_number_in_the_place_of_a_policy_is_answered_with_the_policy_that_it_means(name, policy, guess):
    message = said(lambda: command(**{name: 3}))
    assert message == f"{name} must be {'an' if name == 'adaptive_limit' else 'a'} {policy.__name__} or None, not 3; " \
                      f"did you mean {guess}?"
    namespace = {policy.__name__: policy}
    assert isinstance(eval(guess, namespace), policy)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_class_a_mapping_or_another_policy_is_answered_at_once_and_shortly(name):
    policy = SETTINGS[name][0]
    for value in (policy, {"nothing_of_the_kind": 1}, Timeout(1.0), True, False, "3"):
        message = said(lambda value=value: command(**{name: value}))
        assert message.startswith(f"{name} must be a")
        assert f"{policy.__name__}(" in message or "write None" in message
        assert len(message) < 200


def test_settings_that_were_written_as_a_mapping_are_repeated_as_a_policy():
    assert said(lambda: command(retry={"attempts": 5})).endswith("did you mean Retry(attempts=5)?")


def test_a_policy_without_its_parentheses_gets_them():
    assert said(lambda: command(breaker=CircuitBreaker)).endswith("did you mean CircuitBreaker()?")


@pytest.mark.parametrize(("decorator", "example"), [
    (retry, "@retry(attempts=3)"), (circuit_breaker, "@circuit_breaker(consecutive=3)"), (cache, "@cache(ttl=3)"),
    (hedge, "@hedge(idempotent=True, delay=3)"), (throttle, "@throttle(k=3)"), (chaos, "@chaos(latency=3)"),
    (adaptive_limit, "@adaptive_limit(initial=3)")])
def test_a_decorator_that_was_given_a_bare_number_says_which_setting_that_is(decorator, example):
    assert f"as in {example}, not 3" in said(lambda: decorator(3), TypeError)


@pytest.mark.parametrize("policy", [Retry, CircuitBreaker, Cache, Throttle, AdaptiveLimit, Hedge, Chaos])
def test_a_policy_that_takes_its_settings_by_name_says_so_itself(policy):
    assert f"{policy.__name__} takes its settings by name, as in {policy.__name__}(" in said(lambda: policy(3), TypeError)


def test_a_thread_pool_takes_its_size_without_a_name_as_a_bulkhead_does():
    assert ThreadPool(4) == ThreadPool(size=4)
    assert Bulkhead(4) == Bulkhead(max_concurrent=4)
    assert "ThreadPool takes one setting without a name" in said(lambda: ThreadPool(4, 5), TypeError)


# -- exceptions


@pytest.mark.parametrize("decorate", [
    lambda **options: command(**options), lambda **options: circuit_breaker(**options),
    lambda **options: timeout(None, **options), lambda **options: bulkhead(3, **options),
    lambda **options: Pipeline(CircuitBreaker(), **options)])
def test_ignore_takes_one_class_without_a_tuple_wherever_it_may_be_said(decorate):
    registry = Registry()

    @decorate(ignore=KeyError, registry=registry)
    def work():
        raise KeyError("unknown")

    with pytest.raises(KeyError):
        work()
    assert 1 == work.resilience.snapshot().counts["bad_request"]
    registry.close()


def test_an_entry_of_guards_takes_one_exception_without_a_list(registry):
    done = configure({"guards": {"textwrap:shorten": {"ignore": "KeyError"}}}, registry=registry, environ={})
    try:
        assert "ignore" not in "".join(map(str, done.mistakes))
    finally:
        done.close()


@pytest.mark.parametrize("make", [lambda value: command(ignore=value), lambda value: Retry(on=value),
                                  lambda value: Retry(unless=value), lambda value: Fallback(len, on=value),
                                  lambda value: Cache(cache_exceptions=value)])
def test_what_is_said_of_cancellation_is_said_to_those_only_who_list_it(make):
    assert "passes through" not in said(lambda: make(3))
    assert said(lambda: make(KeyboardInterrupt)).endswith("KeyboardInterrupt always passes through every policy: leave "
                                                          "it out")
    assert said(lambda: make(KeyError("x"))).endswith("write the class, KeyError")
    assert said(lambda: make([KeyError])).endswith("write a tuple, not a list")


# -- names


@pytest.mark.parametrize(("make", "hint"), [
    (lambda: circuit_breaker(fail_max=5), "did you mean consecutive=5, failure_rate=None?"),
    (lambda: CircuitBreaker(failure_threshold=5), "did you mean consecutive=5, failure_rate=None?"),
    (lambda: CircuitBreaker(reset_timeout=60), "did you mean open_for=60?"),
    (lambda: CircuitBreaker(failure_rate_threshold=50), "did you mean failure_rate=0.5?"),
    (lambda: retry(max_retries=3), "did you mean attempts=4?"),
    (lambda: Retry(stop_after_attempt=3), "did you mean attempts=3?"),
    (lambda: command(fail_max=5), "did you mean breaker=CircuitBreaker(consecutive=5, failure_rate=None)?"),
    (lambda: command(max_retries=3), "did you mean retry=Retry(attempts=4)?"),
    (lambda: command(failure_rate=0.3), "did you mean breaker=CircuitBreaker(failure_rate=0.3)?"),
    (lambda: command(attempts=3), "did you mean retry=Retry(attempts=3) or hedge=Hedge(attempts=3)?"),
    (lambda: command(bulkhead=3), "did you mean max_concurrent?"),
    (lambda: Pipeline(retry=3), "pass the policy itself, as in Pipeline(Retry(...))"),
    (lambda: command(timeout=timedelta(seconds=2)), "durations are numbers of seconds: did you mean 2?")])
def test_what_another_library_calls_a_setting_leads_to_ours_with_the_value_that_means_the_same(make, hint):
    assert said(make).endswith(hint)


def test_a_hedge_asks_for_the_one_thing_that_only_the_user_knows():
    assert said(lambda: Hedge(delay=0.1)) == "Hedge() may run a call twice. If that is safe for this function, write " \
                                             "Hedge(idempotent=True); otherwise remove the hedge."


@pytest.mark.parametrize("several", [[CircuitBreaker()], (CircuitBreaker(),), {CircuitBreaker(): 1}, iter([CircuitBreaker()])])
def test_a_list_of_policies_is_answered_without_printing_it(several):
    message = said(lambda: Pipeline(several), TypeError)
    assert "one by one, as in Pipeline(CircuitBreaker(), Bulkhead(10))" in message
    assert len(message) < 120


def test_one_policy_in_the_place_of_a_list_is_answered():
    assert said(lambda: command(policies=Retry())).endswith("write policies=[...]")


# -- one key, two functions


def test_functions_of_one_key_that_differ_are_told_what_the_other_said_and_where(registry):
    @command(key="inventory", timeout=0.5, breaker=CircuitBreaker(open_for=2.0), registry=registry)
    def stock():
        pass

    line = inspect.unwrap(stock).__code__.co_firstlineno
    place = f"(test_api_messages_misled.py:{line})"
    assert said(lambda: timeout(2.0, key="inventory", registry=registry)(lambda: 1)) == (
        f"Command 'inventory' already has timeout=0.5 {place}; this function asks for 2.0. Functions with the same key "
        "need the same settings.")
    assert said(lambda: circuit_breaker(key="inventory", registry=registry)(lambda: 1)) == (
        f"Command 'inventory' already has breaker=CircuitBreaker(open_for=2.0) {place}; this function asks for "
        "CircuitBreaker(open_for=5.0). Functions with the same key need the same settings.")


def test_the_place_is_that_of_the_function_that_said_it(registry):
    @circuit_breaker(key="k", registry=registry)
    def first():
        pass

    @timeout(0.5, key="k", registry=registry)
    def second():
        pass

    line = inspect.unwrap(second).__code__.co_firstlineno
    assert f"(test_api_messages_misled.py:{line})" in said(lambda: timeout(1, key="k", registry=registry)(lambda: 1))
    assert first.resilience is second.resilience


def test_a_group_that_differs_is_told_with_the_place_of_the_other_function(registry):
    @timeout(0.5, key="k", group="one", registry=registry)
    def first():
        pass

    line = inspect.unwrap(first).__code__.co_firstlineno
    message = said(lambda: timeout(0.5, key="k", group="two", registry=registry)(lambda: 1))
    assert message.startswith(f"Command 'k' is in group 'one' already (test_api_messages_misled.py:{line}); this "
                              "function asks for 'two'.")


# -- fallbacks


async def coroutine(sku):
    raise OSError


def generator(sku):
    yield
    raise OSError


async def async_generator(sku):
    yield
    raise OSError


@pytest.mark.parametrize("work", [lambda sku: 1, coroutine, generator, async_generator])
def test_a_fallback_that_can_take_no_call_is_refused_at_decoration_and_leaves_no_command(registry, work):
    message = said(lambda: command(key="k", fallback=lambda: 0, registry=registry)(work))
    assert "cannot take the arguments of" in message
    assert "(sku), with which it is called; give it the same parameters" in message
    assert registry.get("k") is None


class Shop:
    def stock(self, sku):
        raise OSError

    @classmethod
    def shared(cls, sku):
        raise OSError

    @staticmethod
    def plain(sku):
        raise OSError

    def __call__(self, sku):
        raise OSError


def wrapped():
    """A decorator that passes one more argument than its function takes."""

    def inner(session, sku):
        pass

    @functools.wraps(inner)
    def outer(sku):
        return inner(None, sku)

    return outer


class Plain:
    def __init__(self, sku):
        self.sku = sku


def lying(sku):
    return sku


lying.__signature__ = inspect.signature(lambda a, b, c: None)


@pytest.mark.parametrize("fallback", [
    lambda sku: 0, lambda other: 0, lambda *args: 0, lambda *args, **kwargs: 0, lambda sku, error: 0,
    lambda sku, *, error: 0, lambda error, sku: 0, lambda sku=None: 0, lambda sku, more=1: 0, print, dict, str, Plain, Mock(),
    functools.partial(lambda a, b: 0, 1), functools.partial(lambda a, b: 0, b=1), Shop().stock, Shop.shared, Shop.plain,
    Shop(), wrapped(), lying, [].append, {}.get])
def test_a_fallback_that_may_work_is_never_refused(registry, fallback):
    @command(fallback=fallback, registry=registry)
    def work(sku):
        return sku

    assert 1 == work(1)


@pytest.mark.parametrize("fallback", [
    lambda: 0, lambda a, b: 0, lambda *, other: 0, lambda error: 0, lambda error, other, sku: 0,
    functools.partial(lambda a: 0, 1), Shop.stock, [].clear, type("Other", (Plain,), {"__init__": lambda self: None})])
def test_a_fallback_that_cannot_work_is_refused(registry, fallback):
    assert "cannot take the arguments" in said(lambda: command(fallback=fallback, registry=registry)(lambda sku: 1))


def test_a_method_needs_a_fallback_that_takes_its_instance(registry):
    def decorate(fallback):
        return command(fallback=fallback, registry=registry)

    assert "cannot take" in said(lambda: decorate(lambda sku: 0)(Shop.stock))
    assert "cannot take" in said(lambda: decorate(lambda sku: 0)(vars(Shop)["shared"]))
    assert 0 == decorate(lambda self, sku: 0)(Shop.stock)(Shop(), 1)
    assert 0 == decorate(lambda sku: 0)(Shop().stock)(1)
    assert 0 == decorate(lambda sku: 0)(Shop())(1)
    assert callable(decorate(lambda sku: 0)(vars(Shop)["plain"]))


def _parameters(random):
    """Parameters in a random, but legal, order of kinds."""
    names, parts, kinds = random.sample("abcd", random.randrange(4)), [], sorted(random.choices(range(3), k=3))
    default, made = False, {0: [], 1: [], 2: []}
    for name, kind in zip(names, kinds, strict=False):
        default = default or (kind < 2 and random.random() < 0.3)
        made[kind].append(f"{name}=0" if (default and kind < 2) or (kind == 2 and random.random() < 0.4) else name)
    parts += [*made[0], *(["/"] if made[0] else []), *made[1]]
    star = random.random() < 0.2
    parts += ["*rest"] if star else ["*"] if made[2] else []
    return ", ".join([*parts, *made[2], *(["**more"] if random.random() < 0.2 else [])])


def _takes(function, args, kwargs):
    try:
        function(*args, **kwargs)
    except TypeError:
        return False
    return True


def test_two_signatures_share_a_call_exactly_if_one_of_all_small_calls_suits_both():
    choice = random.Random(9)
    calls = [((0,) * count, dict.fromkeys(names, 0)) for count in range(5) for size in range(5)
             for names in itertools.combinations("abcd", size)]
    answers = set()
    for _ in range(150):
        one, other = (eval(f"lambda {_parameters(choice)}: 0") for _ in range(2))
        found = any(_takes(one, *call) and _takes(other, *call) for call in calls)
        signatures = inspect.signature(one), inspect.signature(other)
        assert found == can_share_a_call(*signatures), signatures
        answers.add(found)
    assert {True, False} == answers


def test_parameters_are_those_that_a_call_meets_whatever_the_object_says_of_itself():
    assert ["sku"] == list(parameters_called(wrapped()).parameters)
    assert ["sku"] == list(parameters_called(lying).parameters)
    assert ["sku"] == list(parameters_called(Shop()).parameters)
    assert parameters_called(dict) is None


# -- times


@pytest.mark.parametrize(("seconds", "text"), [(3600.0, "3600 s"), (86_400.0, "86400 s"), (1e6, "1000000 s"),
                                               (12.345, "12.3 s"), (0.00001, "0.00001 s")])
def test_a_long_or_short_wait_is_a_plain_number(seconds, text):
    assert str(RateLimitedError("k", seconds)).endswith(f"retry in {text}")
    assert f"k: the caller's deadline passed after {text}" == str(DeadlineExceededError("k", seconds))


def test_a_timeout_is_repeated_as_it_was_given():
    assert "k: no answer within 86399.25 s" == str(CallTimeoutError("k", 86_399.25))
    assert "k: no answer within 0.00001 s" == str(CallTimeoutError("k", 0.00001))
    assert "base must be at most max_delay (10), not 3600" == said(lambda: Retry(base=3600))


def test_a_deadline_that_passes_in_a_stream_is_told_whole_and_not_only_its_last_wait():
    async def tokens():
        for _ in range(20):
            await asyncio.sleep(0.11)
            yield "token"

    loop = VirtualTimeLoop()
    registry = Registry(clock=loop.time)
    stream = command(timeout=0.5, registry=registry)(tokens)

    async def read():
        with deadline(1.0, clock=loop.time):
            async for _ in stream():
                pass

    try:
        with pytest.raises(DeadlineExceededError) as caught:
            loop.run_until_complete(read())
    finally:
        loop.close()
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)
    assert "the caller's deadline passed after 1 s (9 items had come); this wait had the last 0.01 s" in str(caught.value)
