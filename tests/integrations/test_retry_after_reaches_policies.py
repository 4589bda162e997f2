"""How long a busy target asks its callers to wait reaches each policy, in each form, from each client's own objects."""

from __future__ import annotations

import asyncio
import email.message
import email.utils
import io
import urllib.error

import aiohttp
import anthropic
import attrs
import botocore.exceptions
import grpc
import httpx
import openai
import pytest
import requests
import urllib3
from multidict import CIMultiDict, CIMultiDictProxy

from resilience import (
    AdaptiveLimit,
    CircuitBreaker,
    CircuitOpenError,
    Failover,
    FailureRules,
    RateLimit,
    Registry,
    Retry,
    command,
    http_status,
)
from resilience.drivers import system_clock
from resilience.engine import failover_calls, failure_judge, retrying
from resilience.events import CallRetried
from resilience.testing import ManualClock

NOW = 1_800_000_000.0
REQUEST = httpx.Request("GET", "http://a.example")
DAY_S = 86_400.0


def date(seconds):
    return email.utils.formatdate(NOW + seconds, usegmt=True)


# -- what clients raise and return

def of_httpx(status, pairs):
    return httpx.Response(status, headers=pairs, request=REQUEST)


def raised_by_httpx(status, pairs):
    return httpx.HTTPStatusError("busy", request=REQUEST, response=of_httpx(status, pairs))


def raised_by_openai(status, pairs):
    return openai.APIStatusError("busy", response=of_httpx(status, pairs), body=None)


def raised_by_anthropic(status, pairs):
    return anthropic.APIStatusError("busy", response=of_httpx(status, pairs), body=None)


def joined(pairs):
    headers = urllib3.HTTPHeaderDict()
    for name, value in pairs:
        headers.add(name, value)
    return headers


def of_urllib3(status, pairs):
    return urllib3.HTTPResponse(status=status, headers=joined(pairs))


def of_requests(status, pairs):
    response = requests.Response()
    response.status_code, response.headers = status, requests.structures.CaseInsensitiveDict(joined(pairs))
    return response


def raised_by_requests(status, pairs):
    return requests.HTTPError(response=of_requests(status, pairs))


def raised_by_aiohttp(status, pairs):
    return aiohttp.ClientResponseError(None, (), status=status, headers=CIMultiDictProxy(CIMultiDict(pairs)))


def raised_by_urllib(status, pairs):
    message = email.message.Message()
    for name, value in pairs:
        message[name] = value
    return urllib.error.HTTPError("http://a.example", status, "busy", message, io.BytesIO())


def raised_by_botocore(status, pairs):
    headers = {name.lower(): value for name, value in reversed(pairs)}
    return botocore.exceptions.ClientError(
        {"Error": {"Code": "Slow"}, "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": headers}}, "GetObject")


class RpcError(grpc.RpcError):
    def __init__(self, status, pairs):
        self.of_status, self.pairs = status, pairs

    def code(self):
        return grpc.StatusCode.RESOURCE_EXHAUSTED if self.of_status == 429 else grpc.StatusCode.UNAVAILABLE

    def trailing_metadata(self):
        return tuple((name.lower(), value) for name, value in self.pairs)


def raised_by_grpc_aio(status, pairs):
    code = RpcError(status, ()).code()
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*RpcError(status, pairs).trailing_metadata()))


CLIENTS = [of_httpx, raised_by_httpx, raised_by_openai, raised_by_anthropic, of_urllib3, of_requests, raised_by_requests,
           raised_by_aiohttp, raised_by_urllib, raised_by_botocore, RpcError, raised_by_grpc_aio]
#: What the target says, and for how many seconds; None: it does not ask.
FORMS = {
    "seconds": ([("Retry-After", "7")], 7.0),
    "a fraction": ([("Retry-After", "7.5")], 7.5),
    "milliseconds": ([("retry-after-ms", "7000")], 7.0),
    "milliseconds of Azure": ([("x-ms-retry-after-ms", "7000"), ("Retry-After", "9")], 7.0),
    "pushback": ([("grpc-retry-pushback-ms", "7000")], 7.0),
    "a date": ([("Retry-After", date(7))], 7.0),
    "a date by another clock": ([("Date", date(-500)), ("Retry-After", date(-493))], 7.0),
    "a date that has passed": ([("Retry-After", date(-7))], 0.0),
    "zero": ([("Retry-After", "0")], 0.0),
    "negative": ([("Retry-After", "-7")], None),
    "nonsense": ([("Retry-After", "soon")], None),
    "nothing": ([("Retry-After", "")], None),
    "infinite": ([("Retry-After", "inf")], None),
    "seconds since 1970": ([("Retry-After", str(int(NOW + 7)))], NOW + 7),
    "twice": ([("Retry-After", "7"), ("Retry-After", "99")], 7.0),
    "milliseconds twice": ([("retry-after-ms", "7000"), ("retry-after-ms", "99")], 7.0),
    "no header": ([], None),
}


@pytest.fixture(autouse=True)
def wall(monkeypatch):
    for module in (failure_judge, failover_calls, retrying):
        monkeypatch.setattr(module, "wall_clock", lambda: NOW)
    assert callable(system_clock.wall_clock)


class Calls:
    """Calls of a command whose target answers each with *answer*, in one flavour, keyed or not.

    Attributes:
        clock: The registry's.
        paused: For how long the retry paused.
    """

    def __init__(self, answer, flavour, keyed, **settings):
        self.clock, self.paused, self.targets = ManualClock(), [], []
        registry = Registry(clock=self.clock)
        registry.subscribe(CallRetried, lambda event: self.paused.append(event.delay))
        settings = {"key": (lambda key, **_: f"k {key}") if keyed else "k", "timeout": None, "registry": registry,
                    "failures": FailureRules(status=http_status()), **settings}

        def given(target):
            self.targets.append(target)
            if target == "b":
                return "fine"
            if isinstance(answer, Exception):
                raise answer
            return answer

        if flavour == "sync":
            @command(**settings)
            def call(key, *, target="a"):
                return given(target)
        else:
            @command(**settings)
            async def call(key, *, target="a"):
                return given(target)
        self._call, self._keyed, self._is_async = call, keyed, flavour == "async"

    def __call__(self, key="one"):
        """What came of a call: what it raised, or None."""
        try:
            call = self._call(key)
            if self._is_async:
                async def awaited():
                    return await call

                asyncio.run(awaited())
        except Exception as error:
            return error
        return None

    def handle(self, key="one"):
        return self._call.resilience[f"k {key}"] if self._keyed else self._call.resilience


def each_form(test):
    kinds = [(client, *kind) for client in CLIENTS for kind in (("sync", False), ("async", True))]
    kinds += [(of_httpx, "sync", True), (raised_by_httpx, "async", False)]
    return pytest.mark.parametrize(("client", "flavour", "keyed"), kinds)(test)


def answers(client):
    """Each form, in 429 and 503: what the client makes of it, what it asks for, and whether it is busy."""
    for name, (pairs, asked) in FORMS.items():
        for status in (429, 503):
            yield f"{name}, {status}", client(status, pairs), asked, status == 429 or asked is not None


@each_form
def test_a_retry_waits_for_it_and_a_wait_that_is_too_long_ends_the_call(client, keyed, flavour):
    for name, answer, asked, busy in answers(client):
        calls = Calls(answer, flavour, keyed,
                      retry=Retry(attempts=2, base=0.25, busy_base=0.5, jitter="none", max_delay=60.0, budget=None))
        calls()
        usual = 0.5 if busy else 0.25
        expected = [max(usual, asked or 0.0)] if (asked or 0.0) <= 60.0 else []
        assert expected == calls.paused, name
        counts = calls.handle().snapshot().counts
        assert (1 + len(expected), 0) == ((counts["busy"], counts["failure"]) if busy else
                                          (counts["failure"], counts["busy"])), name


@each_form
def test_with_halts_the_circuit_of_its_key_refuses_calls_until_then(client, keyed, flavour):
    for name, answer, asked, busy in answers(client):
        calls = Calls(answer, flavour, keyed, breaker=CircuitBreaker(min_calls=1000),
                      failures=FailureRules(status=http_status(), halts=True))
        calls()
        halted = min(asked or 0.0, DAY_S) if busy else 0.0
        if halted:
            assert calls.handle().snapshot().retry_after == pytest.approx(halted), name
            assert isinstance(calls(), CircuitOpenError), name
            if keyed:
                assert not isinstance(calls("another"), CircuitOpenError), name
        calls.clock.advance(halted + 0.001)
        assert not isinstance(calls(), CircuitOpenError), name


@each_form
def test_a_rate_that_adapts_falls_for_what_is_busy_alone(client, keyed, flavour):
    for name, answer, _, busy in answers(client):
        calls = Calls(answer, flavour, keyed, rate_limit=RateLimit(100, adaptive=True))
        calls()
        assert (0.7 if busy else 1.0) == pytest.approx(calls.handle().snapshot().gauges["rate_limit.share"]), name


@pytest.mark.parametrize("keyed", [False, True])
@pytest.mark.parametrize("flavour", ["sync", "async"])
def test_an_adaptive_limit_shrinks_for_what_is_busy_although_failures_do_not_count(keyed, flavour):
    for status, pairs, shrinks in ((503, [("Retry-After", date(7))], True), (503, [], False), (429, [], True)):
        calls = Calls(of_httpx(status, pairs), flavour, keyed, max_concurrent=None, breaker=None,
                      adaptive_limit=AdaptiveLimit(initial=20, count_failures=False))
        for _ in range(200):
            calls.clock.advance(0.02)
            calls()
        assert shrinks == (calls.handle().snapshot().max_concurrent < 20), (status, pairs)


@each_form
def test_a_failover_leaves_the_target_out_until_then_or_for_its_grace(client, keyed, flavour):
    for name, answer, asked, busy in answers(client):
        calls = Calls(answer, flavour, keyed, breaker=CircuitBreaker(min_calls=1000),
                      failover=Failover(("a", "b"), argument="target", grace=30.0))
        calls()
        pause = min(asked or 0.0, 30.0) if busy else 0.0
        if pause:
            calls.clock.advance(pause - 0.001)
            calls()
            assert ["a", "b", "b"] == calls.targets, name
        calls.clock.advance(0.001)
        calls()
        assert ["a", "b", *(["b"] if pause else []), "a", "b"] == calls.targets, name


def test_a_later_success_does_not_lift_it_and_another_key_has_its_own():
    clock, answers = ManualClock(), []

    @command(key=lambda key, *_: key, registry=Registry(clock=clock), timeout=None, breaker=CircuitBreaker(min_calls=1000),
             failures=FailureRules(status=http_status(), halts=True))
    async def call(key, begun, end):
        begun.set()
        await end.wait()
        return answers.pop(0)

    async def main():
        events = [(asyncio.Event(), asyncio.Event()) for _ in range(2)]
        first, second = (asyncio.create_task(call("one", *pair)) for pair in events)
        for begun, _ in events:
            await begun.wait()
        answers[:] = [of_httpx(429, [("Retry-After", "30")]), of_httpx(200, [])]
        events[0][1].set()
        await first
        events[1][1].set()
        assert 200 == (await second).status_code
        clock.advance(29.0)
        with pytest.raises(CircuitOpenError):
            await call("one", *events[0])
        answers[:] = [of_httpx(200, [])] * 2
        await call("two", *events[0])
        clock.advance(1.0)
        await call("one", *events[0])

    asyncio.run(main())


def test_settings_that_change_do_not_end_a_halt():
    calls = Calls(of_httpx(429, [("Retry-After", "30")]), "sync", False, breaker=CircuitBreaker(min_calls=1000),
                  failures=FailureRules(status=http_status(), halts=True))
    calls()
    calls.handle().configure(breaker=attrs.evolve(calls.handle().settings.breaker, open_for=1.0))
    calls.clock.advance(29.0)
    assert isinstance(calls(), CircuitOpenError)
