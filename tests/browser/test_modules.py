"""The page's pure modules, called by themselves: parser, scales, backoff, history, ordering, aggregation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser
from resilience_dashboard import app

from tests.dashboard.servers import served

pytestmark = pytest.mark.browser

Evaluate = Callable[..., Any]


@pytest.fixture(scope="module")
def evaluate(browser: Browser) -> Iterator[Evaluate]:
    """`evaluate(module, body, argument)`: run a function body; `m` has the module's exports, `x` is the argument."""
    with served(app, ["/resilience.stream"]) as base:
        context = browser.new_context()
        page = context.new_page()
        page.goto(base + "/favicon.svg")

        def run(module: str, body: str, argument: Any = None) -> Any:
            return page.evaluate(
                f"async x => {{ const m = await import('{base}/js/{module}.js'); {body} }}",
                argument,
            )

        yield run
        context.close()


@pytest.mark.parametrize(
    ("text", "events"),
    [
        ("data: a\n\ndata: b\n\n", ["a", "b"]),
        ("data:a\r\n\r\ndata:  b\r\rdata: c\n\n", ["a", " b", "c"]),
        ("data: one\ndata: two\n\n", ["one\ntwo"]),
        (": ping\n\nping: \n\nevent: x\nid: 1\nretry: 5\ndata: a\n\n", ["a"]),
        ("data: unfinished\n", []),
        ("data\n\ndata:\n\n", [""]),
        ("data: \u00fc\U0001f525\n\n", ["\u00fc\U0001f525"]),
    ],
)
def test_events_are_found_however_the_text_is_cut(evaluate: Evaluate, text: str, events: list[str]) -> None:
    cuts = """
        const parsed = (pieces, parser = new m.EventStreamParser()) => pieces.flatMap(p => parser.feed(p));
        const ways = [parsed([x]), parsed([...x])];
        for (let i = 0; i <= x.length; i += 1) ways.push(parsed([x.slice(0, i), x.slice(i)]));
        return ways;"""
    for found in evaluate("sse", cuts, text):
        assert events == found


def test_an_oversized_event_is_dropped_and_the_next_is_read(evaluate: Evaluate) -> None:
    body = """
        const parser = new m.EventStreamParser({ maxLength: 100 });
        const long = 'data: ' + 'a'.repeat(1000) + '\\n\\n', split = 'data: ' + 'b'.repeat(60) + '\\n';
        const text = long + split + split + '\\n' + 'data: ok\\n\\n';
        return [[...text].flatMap(c => parser.feed(c)), parser.oversized];"""
    assert [["ok"], 2] == evaluate("sse", body)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("percentText(0)", "0.0%"),
        ("percentText(0.0001)", "<0.1%"),
        ("percentText(0.999999)", "99.9%"),
        ("percentText(1)", "100.0%"),
        ("rateText(0.01)", "<0.1"),
        ("rateText(12.34)", "12.3"),
        ("rateText(99.97)", "100"),
        ("shortText(999999)", "999999"),
        ("shortText(2500000)", "2.5M"),
        ("shortText(1e308)", "1.0e+308"),
        ("latencyText(0)", "0 ms"),
        ("latencyText(0.00042)", "0.4 ms"),
        ("latencyText(0.0123)", "12 ms"),
        ("latencyText(1.2345)", "1.23 s"),
        ("latencyText(120)", "120 s"),
        ("durationText(3.25)", "3.3 s"),
        ("durationText(600)", "10 min"),
        ("niceCeiling(0)", 1),
        ("niceCeiling(11)", 20),
        ("niceCeiling(500)", 500),
        ("niceCeiling(0.3)", 0.5),
        ("radius(0, 100, 46)", 0),
        ("radius(25, 100, 46)", 23),
        ("radius(1e9, 100, 46)", 46),
        ("radius(0.001, 100, 46)", 3),
        ("errorColour(0)", "rgb(47 158 98)"),
        ("errorColour(0.5)", "rgb(214 48 49)"),
        ("errorColour(1)", "rgb(214 48 49)"),
        ("sparkPath([0, 5, 10], 10, 100, 50)", "M0 50L50 25L100 0"),
        ("sparkPath([1, NaN, 1], 1, 100, 50)", "M0 0h0.01M100 0h0.01"),
        ("sparkPath([NaN, 5, 5], 10, 100, 50, true)", "M50 25L100 25L100 50L50 50Z"),
        ("sparkPath([], 1, 100, 50)", ""),
    ],
)
def test_numbers_become_text_sizes_and_paths(evaluate: Evaluate, call: str, expected: object) -> None:
    assert expected == evaluate("scales", f"return m.{call}")


def test_waits_double_up_to_the_longest_and_are_never_shorter_than_half(evaluate: Evaluate) -> None:
    body = "return [1, 2, 3, 10, 1000].map(n => [0, 1].map(r => m.retryDelay(n, r, { min: 500, max: 15000 })))"
    expected = [[250, 500], [500, 1000], [1000, 2000], [7500, 15000], [7500, 15000]]
    assert expected == evaluate("backoff", body)


def test_history_keeps_two_minutes_and_shows_gaps(evaluate: Evaluate) -> None:
    body = """
        const h = new m.History();
        const noted = [h.put(1000, 5, 1), h.put(1000, 6, 1), h.put(999, 6, 1), h.put(1003, 7, 2)];
        const tail = h.until(1004).slice(-5).map(p => Number.isNaN(p.rate) ? null : p.rate);
        const length = h.until(1004).length;
        h.put(5000, 9, 0);
        return [noted, tail, length, h.until(5000).filter(p => !Number.isNaN(p.rate)).length];"""
    assert [[True, False, False, True], [5, None, None, 7, None], 120, 1] == evaluate("history", body)


def test_a_held_order_keeps_what_stands_and_appends_what_is_new(evaluate: Evaluate) -> None:
    body = "return m.held(['new', 'a', 'b'].map(key => ({ key })), ['b', 'gone', 'a']).map(c => c.key)"
    assert ["b", "a", "new"] == evaluate("ordering", body)


def test_a_summed_error_rate_is_weighted_by_requests(evaluate: Evaluate) -> None:
    """Turbine's page takes the plain mean: an idle instance at 100 % made a busy healthy cluster look half broken."""
    messages = [
        {"type": "ResilienceCommand", "key": "k", "requests": 990, "errors": 0, "error_rate": 0.0, "state": "closed"},
        {"type": "ResilienceCommand", "key": "k", "requests": 10, "errors": 10, "error_rate": 1.0, "state": "open"},
    ]
    run = """
        const fleet = new m.Fleet({ staleAfterMs: 1000, forgetAfterMs: 5000 });
        x.forEach((message, i) => fleet.apply(i, JSON.stringify(message), 10));
        const { view } = fleet.commands.get('k');
        return [view.errorRate, view.stateText, view.hosts];"""
    assert [0.01, "open 1/2", 2] == evaluate("fleet", run, messages)


def test_silence_makes_stale_and_longer_silence_forgets(evaluate: Evaluate) -> None:
    run = """
        const fleet = new m.Fleet({ staleAfterMs: 1000, forgetAfterMs: 5000 });
        const seen = [];
        fleet.apply(0, '{"type":"ResilienceCommand","key":"k","rate":3}', 0);
        for (const now of [999, 1000, 4999, 5000]) {
            fleet.tick(now);
            seen.push(fleet.commands.get('k')?.stale ?? null);
        }
        return seen;"""
    assert [False, True, True, None] == evaluate("fleet", run)


def test_a_turbine_1_window_that_was_summed_is_divided_again(evaluate: Evaluate) -> None:
    run = """
        const read = (window, threshold) => m.readMessage(JSON.stringify({ type: 'HystrixCommand', name: 'n',
            requestCount: 300, errorCount: 0, reportingHosts: 3,
            propertyValue_metricsRollingStatisticalWindowInMilliseconds: window,
            propertyValue_circuitBreakerErrorThresholdPercentage: threshold })).reading.rate;
        return [read(30000, 150), read(10000, 50), read({ '10000': 3 }, 50), read('{"10000":3}', 50)];"""
    assert [30, 30, 30, 30] == evaluate("wire", run)


def test_forced_hosts_of_a_cluster_do_not_mark_all_of_it(evaluate: Evaluate) -> None:
    run = """
        return m.readMessage(JSON.stringify({ type: 'HystrixCommand', name: 'n', reportingHosts: 3,
            isCircuitBreakerOpen: { true: 2, false: 1 },
            propertyValue_circuitBreakerForceOpen: { true: 1, false: 2 } })).reading.states;"""
    assert {"forced_open": 1, "open": 1, "closed": 1} == evaluate("wire", run)
