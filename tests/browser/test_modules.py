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


def test_a_long_line_is_looked_through_once_however_small_its_pieces_are(evaluate: Evaluate) -> None:
    """It was looked through anew with each piece: 4 MB in pieces of a packet's size took half a minute."""
    body = """
        const split = String.prototype.split;
        let looked = 0;
        String.prototype.split = function (...by) { looked += this.length; return split.apply(this, by); };
        const parser = new m.EventStreamParser();
        const pieces = ['data: ', ...Array(1000).fill('a'.repeat(100)), '\\n', '\\n'];
        const [found] = pieces.flatMap(piece => parser.feed(piece));
        String.prototype.split = split;
        return [found.length, looked];"""
    assert [100_000, 100_008] == evaluate("sse", body)


def test_the_end_of_a_line_that_was_too_long_does_not_end_its_event(evaluate: Evaluate) -> None:
    body = """
        const parser = new m.EventStreamParser({ maxLength: 10 });
        const text = ['data: ' + 'a'.repeat(9), '\\n', 'data: same\\n\\n', 'data: ok\\n\\n'];
        return [text.flatMap(piece => parser.feed(piece)), parser.oversized];"""
    assert [["ok"], 1] == evaluate("sse", body)


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
        ("shortText(999999.7)", "1.0M"),
        ("shortText(2500000)", "2.5M"),
        ("shortText(999999999)", "1.0G"),
        ("shortText(999949999999)", "999.9G"),
        ("shortText(999999999999)", "1.0T"),
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


def test_a_report_holds_until_the_next_one_unless_that_is_late(evaluate: Evaluate) -> None:
    """Streams may speak less than once a second: telemetry(interval=2.0), a Turbine with a delay."""
    body = """
        const h = new m.History();
        for (const s of [1, 3, 5, 9]) h.put(s, s, 1, 2.5);
        return h.until(10).slice(-11).map(p => [p.rate, p.unhappy].map(n => Number.isNaN(n) ? null : n));"""
    gap = [None, None]
    expected = [gap, [1, 1], [1, 1], [3, 1], [3, 1], [5, 1], gap, gap, gap, [9, 1], gap]
    assert expected == evaluate("history", body)


@pytest.mark.parametrize("between", [1, 2, 4])
def test_how_long_calls_fail_is_told_over_slow_streams_too(evaluate: Evaluate, between: int) -> None:
    body = """
        const fleet = new m.Fleet({ staleAfterMs: 5000, forgetAfterMs: 1e6 });
        const message = { rate: 4, window_s: 10, requests: 40, errors: 40, error_rate: 1 };
        for (let s = 0; s <= 40; s += x) fleet.apply(0, JSON.stringify({ type: 'ResilienceCommand', key: 'k', ...message }), 1000 * s);
        return fleet.commands.get('k\\n').history.failing(0.1);"""
    assert {"seconds": 41, "longer": False} == evaluate("fleet", body, between)


def test_what_an_instance_did_before_it_was_heard_is_added_to_what_is_known(evaluate: Evaluate) -> None:
    body = """
        const h = new m.History();
        h.put(1000, 5, 1);
        h.put(1001, 5, 1);
        h.fill([999, 1000, 1001].map(second => ({ second, rate: 2, unhappy: 2 })));
        h.fill([]);
        const tail = h.until(1002).slice(-5).map(p => [p.rate, p.unhappy].map(n => Number.isNaN(n) ? null : n));
        const fresh = new m.History();
        fresh.fill([998, 999].map(second => ({ second, rate: 2, unhappy: 0 })));
        return [tail, fresh.until(999).slice(-3).map(p => Number.isNaN(p.rate) ? null : p.rate), fresh.put(999, 1, 0),
            fresh.put(1000, 1, 0)];"""
    expected = [[[None, None], [2, 2], [7, 3], [7, 3], [None, None]], [None, 2, 2], False, True]
    assert expected == evaluate("history", body)


def test_how_long_calls_have_been_failing_is_counted_back_to_a_better_second(evaluate: Evaluate) -> None:
    body = """
        const failing = (points) => {
            const h = new m.History();
            points.forEach((point, i) => point && h.put(i, ...point));
            return h.failing(0.1);
        };
        return [failing([]), failing([[10, 0], [10, 1], [10, 5]]), failing([[10, 5], [10, 0.9]]), failing([[10, 9], [0, 0]]),
            failing(Array(200).fill([10, 9])), failing([[10, 0], [10, 9], null, null, [10, 9]]), failing([[10, 0], null, [10, 9]])];"""
    nothing = {"seconds": 0, "longer": False}
    expected = [nothing, {"seconds": 2, "longer": False}, nothing, nothing, {"seconds": 120, "longer": True},
                {"seconds": 4, "longer": False}, {"seconds": 1, "longer": False}]
    assert expected == evaluate("history", body)


def test_a_history_counts_once_for_each_instance_and_its_steps_become_seconds(evaluate: Evaluate) -> None:
    run = """
        const fleet = new m.Fleet({ staleAfterMs: 1000, forgetAfterMs: 500_000 });
        const say = (instance, now, history) => fleet.apply(0, JSON.stringify({ type: 'ResilienceCommand', key: 'k', instance,
            rate: 4, window_s: 10, requests: 40, errors: 40, error_rate: 1, ...(history ? { history } : {}) }), now);
        const past = { step_s: 5, age_s: 2, requests: [0, 10, 20, 30], errors: [0, 0, 0, 30] };
        const at = (second) => {
            const p = fleet.commands.get('k\\n').history.until(second).at(-1);
            return [p.rate, p.unhappy].map(n => Number.isNaN(n) ? null : n);
        };
        say('a', 100_500, past);
        const once = [82, 83, 84, 88, 89, 93, 94, 98, 99, 100].map(at);
        say('a', 100_900, past);
        const again = [93, 98].map(at);
        say('b', 100_950, past);
        const both = [93, 98].map(at);
        return [once, again, both];"""
    zero, ramp, mixed, bad, live = [0, 0], [1, 0], [3, 0], [5, 3], [4, 4]
    once = [[None, None], zero, ramp, ramp, mixed, mixed, bad, bad, live, live]
    assert [once, [mixed, bad], [[6, 0], [10, 6]]] == evaluate("fleet", run)


@pytest.mark.parametrize("history", [None, 7, [], {}, {"requests": 3, "errors": []}, {"requests": ["x", None, -1], "errors": [1]},
                                     {"requests": [1e308] * 5000, "errors": [1] * 5000, "step_s": 1e-9, "age_s": 1e300}])  # fmt: skip
def test_a_history_that_makes_no_sense_does_no_harm(evaluate: Evaluate, history: object) -> None:
    run = """
        const fleet = new m.Fleet({ staleAfterMs: 1000, forgetAfterMs: 5000 });
        fleet.apply(0, JSON.stringify({ type: 'ResilienceCommand', key: 'k', rate: 3, history: x }), 100_000);
        const points = fleet.commands.get('k\\n').history.until(100);
        return [points.length, points.at(-1).rate];"""
    assert [120, 3] == evaluate("fleet", run, history)


def test_a_long_name_is_cut_at_a_separator_near_its_end_and_never_inside_a_letter(evaluate: Evaluate) -> None:
    names = [
        "short", "exactly.twenty.chars", "com.example.shop.inventory.stock_of_warehouse", "n" * 60,
        "\U0001f525" * 40, "e\u0301" * 40, "\U0001f468\u200d\U0001f469\u200d\U0001f467" * 12, "",
    ]  # fmt: skip
    found = evaluate("names", "return x.map(name => m.pieces(name))", names)
    assert names == ["".join(pieces) for pieces in found]
    assert ["short", ""] == found[0]
    assert ["com.example.shop.inventory", ".stock_of_warehouse"] == found[2]
    assert ["pricing-canary", "@127.0.0.1:34887"] == evaluate("names", "return m.pieces(x)", "pricing-canary@127.0.0.1:34887")
    for _, tail in found:
        assert tail[:1] not in ("\u0301", "\u200d")
        assert len(tail.encode("utf-16-le")) // 2 <= 32


def test_a_stream_whose_wait_is_over_is_being_connected_to(evaluate: Evaluate) -> None:
    """The dashboard's server does not tell when it tries again; an address that nobody answers at takes seconds."""
    link = {"label": "a", "state": "waiting", "reason": "no answer", "failures": 1, "lastEventAt": None, "startedAt": 0}
    links = [{**link, "retryAt": at} for at in (4000, 2500)]
    told = evaluate("status", "return x.map(link => m.complaint(link, 3000, 1000))", links)
    assert ["a: no data yet (no answer); trying again in 1.0 s.", "a: no data yet (no answer); connecting."] == told


def test_of_a_long_type_the_package_and_the_class_are_shown(evaluate: Evaluate) -> None:
    types = ["ValueError", "httpx.ConnectTimeout", "shop.gateway.messages.exchange.UpstreamStatusError", "n" * 60]
    assert [*types[:2], "shop\u2026UpstreamStatusError", types[3]] == evaluate("names", "return x.map(m.typeName)", types)


def test_names_that_begin_and_end_alike_are_cut_where_they_differ(evaluate: Evaluate) -> None:
    names = [f"com.example.platform.payments.{region}.charge_card_by_token" for region in ("eu-west", "us-east")]
    others = ["com.example.platform.payments.refund_by_token", "a", "b" * 80]
    found = dict(evaluate("names", "return [...m.places(x)]", [*names, *others]))
    assert {name: len("com.example.platform.payments.") for name in names} == found


def test_a_thousand_names_are_compared_in_a_moment(evaluate: Evaluate) -> None:
    body = """
        const names = Array.from({ length: 1000 }, (_, i) => `${'service.'.repeat(20)}${i}.operation_of_the_same_name`);
        const times = [];
        let found;
        for (let attempt = 0; attempt < 10; attempt += 1) {
            const before = performance.now();
            found = m.places(names);
            times.push(performance.now() - before);
        }
        return [found.size, Math.min(...times)];"""
    size, milliseconds = evaluate("names", body)  # the least of ten: another process may take the processor for a while
    assert size == 1000
    assert milliseconds < 500


def test_a_held_order_keeps_what_stands_and_appends_what_is_new(evaluate: Evaluate) -> None:
    body = "return m.held(['new', 'a', 'b'].map(id => ({ id })), ['b', 'gone', 'a']).map(c => c.id)"
    assert ["b", "a", "new"] == evaluate("ordering", body)


RANKS = """
    const ranking = new m.Ranking(1000);
    return x.map((rates, second) => m.ordered(Object.entries(rates).map(([key, hurtRate]) => ({
        id: key, key, stale: false, view: { hurtRate, severity: 0, stateSeverity: 0 } })), ranking, false, second * 1000).map(c => c.key).join(''));"""


def test_numbers_that_hardly_differ_do_not_swap_places(evaluate: Evaluate) -> None:
    about_equal = [{"a": 10 + n % 3 * 0.5, "b": 10.5} for n in range(15)]
    assert ["ba"] * 14 == evaluate("ordering", RANKS, about_equal)[:14]
    assert ["ba", "ab", "ab"] == evaluate("ordering", RANKS, [{"a": 10, "b": 11}, {"a": 14, "b": 11}, {"a": 13.5, "b": 13.8}])
    slowly = evaluate("ordering", RANKS, [{"a": 10, "b": 11}, *[{"a": 11.9, "b": 11}] * 20])
    assert "ba" == slowly[1]
    assert "ab" == slowly[-1], "what differs for long counts"


def test_a_rare_failure_does_not_move_its_command_twice_a_minute(evaluate: Evaluate) -> None:
    rare = [{"a": 0, "b": 0.1 if n % 4 == 0 else 0, "c": 0} for n in range(20)]
    assert {"bac"} == set(evaluate("ordering", RANKS, rare))
    over = [{"a": 0, "b": 0.1}, *[{"a": 0, "b": 0}] * 10]
    assert ["ba"] * 5 + ["ab"] * 6 == evaluate("ordering", RANKS, over)
    steady = [{"a": 0, "b": 1 + n % 2 * 0.1} for n in range(8)] + [{"a": 0, "b": 0}] * 5
    assert ["ba"] * 12 + ["ab"] == evaluate("ordering", RANKS, steady)


def test_as_few_as_possible_are_moved_into_another_order(evaluate: Evaluate) -> None:
    orders = [[], [0, 1, 2], [1, 2, 3, 0], [3, 0, 1, 2], [-1, 0, -1, 1], [2, 1, 0], [-1, -1], [4, 5, 0, 1, 2, 3]]
    stay = evaluate("ordering", "return x.map(places => [...m.staying(places)].map(i => places[i]).sort())", orders)
    assert [[], [0, 1, 2], [1, 2, 3], [0, 1, 2], [0, 1], [0], [], [0, 1, 2, 3]] == stay


def test_a_summed_error_rate_is_weighted_by_requests(evaluate: Evaluate) -> None:
    """Turbine's page takes the plain mean: an idle instance at 100 % made a busy healthy cluster look half broken."""
    messages = [
        {"type": "ResilienceCommand", "key": "k", "requests": 990, "errors": 0, "error_rate": 0.0, "state": "closed"},
        {"type": "ResilienceCommand", "key": "k", "requests": 10, "errors": 10, "error_rate": 1.0, "state": "open"},
    ]
    run = """
        const fleet = new m.Fleet({ staleAfterMs: 1000, forgetAfterMs: 5000 });
        x.forEach((message, i) => fleet.apply(i, JSON.stringify(message), 10));
        const { view } = fleet.commands.get('k\\n');
        return [view.errorRate, view.stateText, view.hosts];"""
    assert [0.01, "open 1/2", 2] == evaluate("fleet", run, messages)


def test_silence_makes_stale_and_longer_silence_forgets(evaluate: Evaluate) -> None:
    run = """
        const fleet = new m.Fleet({ staleAfterMs: 1000, forgetAfterMs: 5000 });
        const seen = [];
        fleet.apply(0, '{"type":"ResilienceCommand","key":"k","rate":3}', 0);
        for (const now of [999, 1000, 4999, 5000]) {
            fleet.tick(now);
            seen.push(fleet.commands.get('k\\n')?.stale ?? null);
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
