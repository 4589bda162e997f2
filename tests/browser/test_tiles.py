"""What a tile says: the DOM contract, over both dialects, for one reporter and for many."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.messages import OpenPage, hystrix, resilience
from tests.dashboard.servers import StreamServer

pytestmark = pytest.mark.browser


def tile(page: Page, key: str) -> Locator:
    return page.locator(f"[data-command={json.dumps(key)}]")


def field(page: Page, key: str, name: str) -> Locator:
    return tile(page, key).locator(f'[data-field="{name}"]')


def test_a_circuit_shows_its_key_group_state_and_numbers(stream: StreamServer, open_page: OpenPage) -> None:
    counts = {"success": 34, "failure": 30, "timeout": 20, "short_circuited": 5, "semaphore_rejected": 3,
              "thread_pool_rejected": 2, "bad_request": 7, "fallback_success": 11, "fallback_failure": 12,
              "fallback_rejection": 13, "fallback_missing": 14, "cancelled": 15, "responses_from_cache": 16, "stale_responses": 18,
              "exceptions_thrown": 17, "throttled": 1, "rate_limited": 2, "no_time_left": 3}  # fmt: skip
    transition = {"term": 3, "from": "closed", "to": "open", "trigger": "failure_rate", "age_s": 4.0}
    stream.messages = [
        resilience("stock", rate=10.0, counts=counts, state="open", retry_after_s=3.25, transitions=[transition])
    ]
    page = open_page(stream)

    expect(tile(page, "stock")).to_have_attribute("data-state", "open")
    expect(tile(page, "stock")).to_have_attribute("data-group", "shop")
    expected = {
        "success": "34", "failure": "30", "timeout": "20", "short_circuited": "5", "rejected": "11", "bad_request": "7",
        "refused": "16", "semaphore_rejected": "3", "thread_pool_rejected": "2", "throttled": "1", "rate_limited": "2",
        "no_time_left": "3",
        "fallback_success": "11", "fallback_failure": "12", "fallback_rejection": "13", "fallback_missing": "14",
        "cancelled": "15", "responses_from_cache": "16", "stale_responses": "18", "exceptions_thrown": "17", "error_rate": "66.0%",
        "rate": "10.0", "requests": "100", "errors": "66", "p50": "9.0 ms", "mean": "10 ms", "p90": "16 ms",
        "p95": "20 ms", "p99": "31 ms", "p995": "42 ms", "in_flight": "2", "max_in_flight": "5",
        "max_concurrent": "20", "state": "open", "retry_after": "3.3 s",
    }  # fmt: skip
    for name, text in expected.items():
        expect(field(page, "stock", name)).to_have_text(text)
    expect(field(page, "stock", "error_rate")).to_have_attribute("data-value", "0.66")
    expect(tile(page, "stock").locator(".transitions")).to_contain_text("closed → open (failure rate)")


def test_numbers_follow_the_stream(stream: StreamServer, open_page: OpenPage) -> None:
    stream.messages = [resilience("stock", rate=10.0)]
    page = open_page(stream)
    expect(field(page, "stock", "success")).to_have_text("100")
    stream.messages = [resilience("stock", rate=25.0, error_rate=0.1, state="half_open")]
    expect(field(page, "stock", "success")).to_have_text("225")
    expect(field(page, "stock", "failure")).to_have_text("25")
    expect(tile(page, "stock")).to_have_attribute("data-state", "half_open")


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("closed", "closed"),
        ("open", "open"),
        ("half_open", "half-open"),
        ("forced_open", "forced open"),
        ("forced_closed", "forced closed"),
        ("disabled", "disabled"),
    ],
)
def test_every_state_is_told_in_words_and_by_its_own_sign(
    stream: StreamServer, open_page: OpenPage, state: str, words: str
) -> None:
    stream.messages = [resilience("stock", state=state)]
    page = open_page(stream)
    expect(field(page, "stock", "state")).to_have_text(words)
    expect(tile(page, "stock").locator(".state use")).to_have_attribute("href", f"#switch-{state}")
    assert page.locator(f"#switch-{state}").count() == 1


def test_refused_traffic_keeps_an_open_circuits_circle_large(stream: StreamServer, open_page: OpenPage) -> None:
    stream.messages = [
        resilience("refusing", rate=50.0, counts={"short_circuited": 500}, state="open"),
        resilience("healthy", rate=50.0),
    ]
    page = open_page(stream)
    outer = tile(page, "refusing").locator("circle.refused")
    expect(outer).to_have_attribute("r", "46.0")
    expect(tile(page, "refusing").locator("circle.ran")).to_have_attribute("r", "0.0")
    expect(tile(page, "healthy").locator("circle.ran")).to_have_attribute("r", "46.0")
    expect(tile(page, "healthy").locator("circle.ran")).to_have_attribute("fill", "rgb(47 158 98)")
    expect(tile(page, "refusing").locator("circle.ran")).to_have_attribute("fill", "rgb(214 48 49)")


def test_the_sparkline_gets_a_point_each_second(stream: StreamServer, open_page: OpenPage) -> None:
    stream.messages = [resilience("stock", rate=10.0)]
    page = open_page(stream)
    line = tile(page, "stock").locator("path.spark-line")
    page.wait_for_function("path => path.getAttribute('d').split('L').length >= 3", arg=line.element_handle())


def test_a_plain_hystrix_command_looks_the_same(stream: StreamServer, open_page: OpenPage) -> None:
    stream.messages = [
        hystrix("CreditCard", requests=100, errors=25, isCircuitBreakerOpen=True, rollingCountFallbackSuccess=9)
    ]
    page = open_page(stream)
    expect(tile(page, "CreditCard")).to_have_attribute("data-state", "open")
    expect(tile(page, "CreditCard")).to_have_attribute("data-group", "legacy")
    expected = {"error_rate": "25.0%", "rate": "10.0", "success": "75", "failure": "25", "fallback_success": "9",
                "p50": "10 ms", "p99": "90 ms", "p995": "120 ms", "mean": "15 ms", "in_flight": "3"}  # fmt: skip
    for name, text in expected.items():
        expect(field(page, "CreditCard", name)).to_have_text(text)


def test_the_number_by_which_hystrix_says_no_limit_is_none(stream: StreamServer, open_page: OpenPage) -> None:
    permits = {"propertyValue_executionIsolationStrategy": "SEMAPHORE", "propertyValue_executionIsolationSemaphoreMaxConcurrentRequests": 2**31 - 1}
    stream.messages = [hystrix("one", **permits), hystrix("three", hosts=3, **permits), hystrix("ten", **{**permits, [*permits][1]: 10})]
    page = open_page(stream)
    for key, text in (("ten", "10"), ("one", "∞"), ("three", "∞")):
        expect(field(page, key, "max_concurrent")).to_have_text(text)


@pytest.mark.parametrize(("rate", "text"), [(0.4, "0.5/s"), (0.001, "0.001/s"), (0.02, "0.02/s"), (7.0, "10/s"), (1_500_000.0, "2.0M/s")])
def test_the_scale_of_the_line_is_told_as_it_is(stream: StreamServer, open_page: OpenPage, rate: float, text: str) -> None:
    stream.messages = [resilience("stock", rate=rate)]
    expect(tile(open_page(stream), "stock").locator('[data-slot="spark-top"]')).to_have_text(text)


def test_the_last_failure_grows_older_while_nothing_is_heard(stream: StreamServer, open_page: OpenPage) -> None:
    failure = {"type": "ConnectionError", "message": "refused", "ago_s": 3.0, "count": 2}
    stream.messages = [resilience("stock", last_failure=failure)]
    page = open_page(stream)
    when = field(page, "stock", "failure_when")
    expect(when).to_contain_text(", 2 like it")
    stream.stop()
    expect(when).to_contain_text("5 s ago")


def test_hystrix_calls_that_were_short_circuited_are_traffic_and_errors(
    stream: StreamServer, open_page: OpenPage
) -> None:
    stream.messages = [hystrix("CreditCard", requests=0, isCircuitBreakerOpen=True, rollingCountShortCircuited=300)]
    page = open_page(stream)
    expect(field(page, "CreditCard", "rate")).to_have_text("30.0")
    expect(field(page, "CreditCard", "error_rate")).to_have_text("100.0%")


@pytest.mark.parametrize("mixed", [{"true": 1, "false": 2}, '{"true":1,"false":2}'], ids=["turbine 2", "turbine 1"])
def test_hosts_that_turbine_summed_are_divided_again_and_mixed_circuits_say_how_many(
    stream: StreamServer, open_page: OpenPage, mixed: object
) -> None:
    stream.messages = [hystrix("CreditCard", requests=300, errors=30, hosts=3, isCircuitBreakerOpen=mixed)]
    page = open_page(stream)
    expect(tile(page, "CreditCard")).to_have_attribute("data-state", "mixed")
    expect(field(page, "CreditCard", "state")).to_have_text("open 1/3")
    expect(field(page, "CreditCard", "error_rate")).to_have_text("10.0%")
    expect(field(page, "CreditCard", "p99")).to_have_text("90 ms")
    expect(field(page, "CreditCard", "rate")).to_have_text("30.0")
    expect(field(page, "CreditCard", "instances")).to_have_text("3 instances")


def test_a_change_that_a_hystrix_stream_does_not_announce_is_noticed(stream: StreamServer, open_page: OpenPage) -> None:
    stream.messages = [hystrix("CreditCard")]
    page = open_page(stream)
    expect(tile(page, "CreditCard")).to_have_attribute("data-state", "closed")
    stream.messages = [hystrix("CreditCard", isCircuitBreakerOpen=True)]
    expect(tile(page, "CreditCard").locator(".transitions")).to_contain_text("closed → open")


def test_instances_of_several_streams_share_a_tile(stream: StreamServer, open_page: OpenPage) -> None:
    other = StreamServer()
    other.start()
    try:
        stream.messages = [
            resilience("stock", rate=90.0, instance="a:1", latency=0.01),
            resilience("stock", rate=9.0, instance="b:1", latency=0.01),
        ]
        other.messages = [resilience("stock", rate=1.0, error_rate=1.0, state="open", instance="c:1", latency=0.1)]
        page = open_page(stream, other)
        expect(page.locator("[data-command]")).to_have_count(1)
        expect(field(page, "stock", "state")).to_have_text("open 1/3")
        expect(tile(page, "stock")).to_have_attribute("data-state", "mixed")
        expect(field(page, "stock", "success")).to_have_text("990")
        expect(field(page, "stock", "rate")).to_have_text("100")
        expect(field(page, "stock", "error_rate")).to_have_text("1.0%")
        expect(field(page, "stock", "p99")).to_have_text("310 ms")
        expect(field(page, "stock", "mean")).to_have_text("11 ms")
        other.stop()
        expect(field(page, "stock", "instances")).to_have_text("2 instances, 1 silent")
        expect(tile(page, "stock")).to_have_attribute("data-state", "closed")
        expect(page.locator("#show-connection")).to_have_text("1 of 2 streams silent")
    finally:
        other.stop()


def test_a_command_that_left_the_registry_loses_its_tile(stream: StreamServer, open_page: OpenPage) -> None:
    stream.messages = [resilience("stock"), resilience("price")]
    page = open_page(stream)
    expect(tile(page, "stock")).to_be_visible()
    stream.messages = [resilience("price"), {"type": "ResilienceRemoved", "key": "stock", "instance": "host-a:1"}]
    expect(tile(page, "stock")).to_have_count(0)
    expect(tile(page, "price")).to_be_visible()
