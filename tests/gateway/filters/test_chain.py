"""Filters of code in a chain: what they see, what they change, and what becomes of those that fail or are late."""

import asyncio
import logging

import attrs
import pytest

from resilience.errors import ConfigError
from resilience.gateway import endpoint_filter, inbound_filter, outbound_filter
from resilience.gateway.config import FilterConfig
from resilience.gateway.messages.problem import Problem
from tests.gateway.filters.chains import Bench


async def test_an_inbound_filter_reads_and_changes_what_goes_upstream():
    seen = []

    @inbound_filter
    def tag(context):
        request = context.request
        seen.extend([request.method, request.path, request.query, request.host, request.peer, request.headers["x-a"]])
        request.headers["X-B"] = "2"
        request.headers.add("x-a", "3")
        del request.headers["x-gone"]
        request.query = "q=2"

    bench = Bench(tag)
    await bench.get(b"/shop/1", query=b"q=1", headers=[(b"x-a", b"1"), (b"x-gone", b"y")])

    assert seen == ["GET", "/shop/1", "q=1", "gw", "192.0.2.7", "1"]
    assert bench.sent.headers == [(b"x-a", b"1"), (b"x-b", b"2"), (b"x-a", b"3")]
    assert bench.sent.target == b"/shop/1?q=2"


async def test_every_value_of_a_header_is_seen_and_none_can_break_out_of_its_line():
    @inbound_filter
    def look(context):
        headers = context.request.headers
        assert headers["X-Role"] == "user, admin"
        assert headers.all("x-role") == ["user", "admin"]
        assert headers["cookie"] == "a=1; b=2"
        assert headers.get("x-none") is None
        assert "x-none" not in headers
        for name, value in [("x-a", "1\r\nx-b: 2"), ("x-a", "\0"), ("x a", "1"), ("content-length", "1"),
                            ("Transfer-Encoding", "chunked"), ("connection", "x-consumer"), ("host", "b"), ("x-a", 1), ("x-a", "\u20ac")]:
            with pytest.raises(ValueError):
                headers[name] = value
        with pytest.raises(KeyError):
            headers["x-none"]
        with pytest.raises(ValueError):
            context.request.query = "a b"
        context.attributes["looked"] = list(headers)

    @inbound_filter(order=200)
    def later(context):
        assert context.attributes["looked"] == ["x-role", "cookie"]
        context.answer(204)

    client = await Bench(look, later).get(
        headers=[(b"x-role", b"user"), (b"x-role", b"admin"), (b"cookie", b"a=1"), (b"cookie", b"b=2")])

    assert client.answer == (204, {}, b"")


async def test_a_filter_that_is_late_is_cut_off_and_the_next_one_runs(caplog):
    @inbound_filter(time_limit=0.01)
    async def hangs(context):
        await asyncio.Event().wait()

    ran = []

    @inbound_filter(order=101)
    def after(context):
        ran.append([name for name, _ in context.errors])

    bench = Bench(hangs, after)
    client = await bench.get()

    assert (client.status, ran) == (200, [["hangs"]])
    assert bench.registry["filter.hangs"].snapshot().counts["timeout"] == 1
    assert bench.registry["filter.hangs"].group == "filters"
    assert "hangs failed" in caplog.text


async def test_a_filter_that_fails_closed_lets_nothing_through_when_it_raises_or_is_late():
    @inbound_filter(fail_closed=True, time_limit=0.01)
    async def hangs(context):
        await asyncio.Event().wait()

    @inbound_filter(fail_closed=True)
    def raises(context):
        raise LookupError("secret")

    @inbound_filter(fail_closed=True, when=lambda context: context.nonsense)
    def unsure(context):
        raise AssertionError("not reached")

    for each, status in [(hangs, 503), (raises, 500), (unsure, 500)]:
        bench = Bench(each)
        client = await bench.get()
        assert (client.status, bench.sent) == (status, None)
        assert b"secret" not in client.answer[2]


async def test_a_plain_filter_that_took_longer_than_its_limit_has_failed_although_nobody_could_end_it():
    @inbound_filter(fail_closed=True, time_limit=1e-9)
    def slow(context):
        sum(range(1000))

    bench = Bench(slow)

    assert (await bench.get()).status == 503
    assert bench.sent is None


async def test_a_filter_that_fails_a_thousand_times_is_logged_once_in_a_while(caplog):
    @inbound_filter
    def raises(context):
        raise LookupError

    bench = Bench(raises)
    with caplog.at_level(logging.ERROR):
        for _ in range(50):
            assert (await bench.get()).status == 200

    assert len(caplog.records) == 1
    assert bench.registry["filter.raises"].snapshot().counts["failure"] == 50


async def test_stop_skips_what_follows_but_for_filters_that_run_always():
    ran = []

    @inbound_filter(order=1)
    def first(context):
        context.stop()

    @inbound_filter(order=2, always=True)
    def guard(context):
        ran.append("guard")

    @inbound_filter(order=3)
    def skipped(context):
        ran.append("skipped")

    @outbound_filter
    def out(context):
        ran.append("out")

    @outbound_filter(always=True)
    def log(context):
        ran.append("log")

    assert (await Bench(first, guard, skipped, out, log).get()).status == 200
    assert ran == ["guard", "log"]


async def test_a_refusal_stands_above_an_answer_and_outbound_filters_see_both():
    @inbound_filter(order=1)
    def welcome(context):
        context.answer(200, "hello")

    @inbound_filter(order=2)
    def guard(context):
        context.refuse(401, "who are you?", {"WWW-Authenticate": "Bearer"})
        context.refuse(403, "too late")

    @outbound_filter
    def stamp(context):
        context.response.headers["x-stamp"] = str(context.response.status)
        assert context.response.is_ours

    bench = Bench(welcome, guard, stamp)
    status, headers, body = (await bench.get()).answer

    assert (status, headers[b"www-authenticate"], headers[b"x-stamp"]) == (401, b"Bearer", b"401")
    assert b"who are you?" in body
    assert headers[b"content-length"] == b"%d" % len(body)
    assert bench.sent is None


async def test_an_error_endpoint_answers_for_refusals_and_for_services():
    @endpoint_filter
    def errors(context):
        context.answer(context.refusal.status, f"sorry: {context.refusal.detail}", [("content-type", "text/plain")])

    @endpoint_filter
    def broken(context):
        raise LookupError

    bench = Bench(errors, error_endpoint="errors", problem=Problem(504, "up is late", close=True))
    bench.chain = type(bench.chain)((), (), None)
    status, headers, body = (await bench.get()).answer
    assert (status, body, headers[b"connection"]) == (504, b"sorry: up is late", b"close")

    bench = Bench(broken, error_endpoint="broken")
    status, headers, _ = (await bench.get()).answer
    assert (status, headers[b"content-type"]) == (500, b"application/problem+json")


async def test_an_endpoint_that_gives_no_answer_or_is_not_there_is_an_error():
    @endpoint_filter
    def silent(context):
        pass

    assert (await Bench(silent).get()).status == 500

    @inbound_filter
    def choose(context):
        context.endpoint = "nowhere"

    bench = Bench(choose)
    assert (await bench.get()).status == 500
    assert bench.sent is None


async def test_an_inbound_filter_can_choose_another_service():
    @inbound_filter
    def choose(context):
        context.service = context.request.headers["x-service"]

    bench = Bench(choose, services=("up", "other"))
    assert (await bench.get(headers=[(b"x-service", b"other")])).status == 200
    assert bench.forwarder.requests[-1][0] == "other"
    assert (await bench.get(headers=[(b"x-service", b"nowhere")])).status == 500


async def test_a_filter_that_needs_the_body_has_it_whole_and_may_change_it():
    @inbound_filter(body=10)
    async def shout(context):
        context.request.body = context.request.body.upper() + b"!"

    bench = Bench(shout)
    await bench.get(method="POST", body=b"hello")
    assert (bench.sent.body, bench.sent.length) == (b"HELLO!", 6)

    for length in (11, None):  # announced, or chunked
        client = await bench.get(method="POST", body=b"hello world", length=length)
        assert (client.status, client.answer[1][b"connection"]) == (413, b"close")
    assert len(bench.forwarder.requests) == 1


async def test_an_outbound_filter_that_needs_the_body_changes_it_and_one_too_large_is_a_failure():
    @outbound_filter(body=2)
    def shout(context):
        context.response.body = context.response.body.upper() + b"!"
        context.response.status = 203

    assert (await Bench(shout).get()).answer == (203, {b"content-length": b"3"}, b"UP!")

    ran = []

    @outbound_filter(body=1)
    def small(context):
        ran.append("small")

    @outbound_filter(body=1, fail_closed=True)
    def careful(context):
        ran.append("careful")

    assert (await Bench(small).get()).answer == (200, {b"content-length": b"2"}, b"up")
    assert (await Bench(careful).get()).status == 500
    assert ran == []


async def test_a_response_that_becomes_one_without_a_body_has_none():
    @outbound_filter
    def nothing(context):
        context.response.status = 204

    assert (await Bench(nothing).get()).answer == (204, {}, b"")


async def test_an_outbound_filter_cannot_answer_but_refuse():
    @outbound_filter
    def late(context):
        with pytest.raises(RuntimeError, match=r"context\.response"):
            context.answer(200)
        context.refuse(502, "the answer has not the form that was agreed")

    seen = []

    @outbound_filter(order=1)
    def stamp(context):
        seen.append((context.response.status, context.response.is_ours))

    assert (await Bench(late, stamp).get()).status == 502
    assert seen == [(200, False), (502, True)]


async def test_a_filter_that_is_switched_off_does_not_run():
    @inbound_filter
    def guard(context):
        context.refuse(403, "no")

    bench = Bench(FilterConfig.of(guard, enabled=False))
    assert bench.chain is None


async def test_a_class_is_a_filter_with_settings_whichever_way_it_is_called():
    @inbound_filter(order=5, name="named")
    @attrs.frozen
    class Tag:
        value: str = "1"

        def __call__(self, context):
            context.request.headers.add("x-tag", self.value)

    @inbound_filter
    @attrs.frozen
    class Waiting:
        async def __call__(self, context):
            await asyncio.sleep(0)
            context.request.headers.add("x-tag", "async")

    bench = Bench(Tag("2"), Waiting())
    await bench.get()

    assert bench.sent.headers == [(b"x-tag", b"2"), (b"x-tag", b"async")]
    assert sorted(bench.steps) == ["Waiting", "named"]


async def test_a_function_that_returns_a_coroutine_without_being_a_coroutine_function_has_failed():
    async def work():
        raise AssertionError("not reached")

    @inbound_filter(fail_closed=True)
    def careless(context):
        return work()

    assert (await Bench(careless).get()).status == 500


async def test_a_cancelled_request_is_no_failure_of_its_filter():
    entered = asyncio.Event()

    @inbound_filter
    async def waits(context):
        entered.set()
        await asyncio.Event().wait()

    bench = Bench(waits)
    task = asyncio.ensure_future(bench.get())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    counts = bench.registry["filter.waits"].snapshot().counts
    assert (counts["cancelled"], counts["failure"], counts["timeout"]) == (1, 0, 0)
    assert bench.registry["filter.waits"].snapshot().in_flight == 0


def test_what_is_no_filter_is_refused_where_it_is_declared_or_given():
    with pytest.raises(ConfigError, match="generator"):
        @inbound_filter
        def generates(context):
            yield

    with pytest.raises(ConfigError, match="never skipped"):
        endpoint_filter(when=lambda context: True)(lambda context: None)
    with pytest.raises(ConfigError, match="time_limit"):
        inbound_filter(time_limit=0)(lambda context: None)
    with pytest.raises(ConfigError, match="decorate"):
        FilterConfig.of(print)
    with pytest.raises(ConfigError, match="function"):
        inbound_filter(3)


@pytest.mark.parametrize(("method", "said"), [("answer", (99, b"")), ("answer", (600, b"")), ("answer", ("200", b"")),
                                              ("refuse", (200, "ok")), ("refuse", (600, "ok"))])
async def test_a_status_that_there_is_not_is_the_filters_failure(method, said):
    @inbound_filter
    def odd(context):
        getattr(context, method)(*said)

    bench = Bench(odd)
    await bench.get()
    assert bench.registry["filter.odd"].snapshot().counts["failure"] == 1
