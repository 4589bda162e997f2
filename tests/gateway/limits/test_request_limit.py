"""Limits of requests: who waits, who gives up, what is settled, beside a plain token bucket; and whose a request is."""

import asyncio
import json
import random

import pytest

from resilience import RateLimitedError, Registry
from resilience.gateway.client_addresses import ClientAddresses, network_of
from resilience.gateway.limits.answer_cost import MAX_EVENT, MAX_JSON, AnswerCost, units_in
from resilience.gateway.limits.caller_keys import CallerKeys
from resilience.gateway.limits.rate_fields import limit_field, policy_field
from resilience.gateway.limits.request_limit import RequestLimit, limit_named, policy_of
from resilience.gateway.messages.inbound import RequestHead


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def limit(calls, per=1.0, *, max_waiting=10, clock=None, **options):
    return RequestLimit(policy_of(calls, per, **options), name="l", max_waiting=max_waiting, clock=clock or Clock())


def test_histories_agree_with_a_plain_token_bucket_for_each_caller():
    for seed in range(30):
        dice, clock, spent = random.Random(seed), Clock(), {}
        rate, burst = dice.randrange(1, 50), dice.randrange(1, 20)
        made = limit(rate, 10.0, burst=burst, clock=clock, settles=True)
        for _ in range(300):
            step = dice.choice([0.0, dice.uniform(0, 2.0)])
            clock.now += step
            spent = {key: max(0.0, owed - step * rate / 10.0) for key, owed in spent.items()}
            key, units = dice.choice("abc"), float(dice.randrange(0, 4))
            owed = spent.get(key, 0.0)
            fits = owed + units <= burst + 1e-6 or (units > burst and owed <= 1e-9)
            try:
                booking = made.book(key, units)
            except RateLimitedError as error:
                assert not fits
                assert error.retry_after == pytest.approx((owed + units - burst) * 10.0 / rate, abs=1e-3) or units > burst
                continue
            assert fits
            spent[key] = owed + units
            assert made.left(booking)[0] == pytest.approx(burst - spent[key], abs=1e-3)
            how = dice.random()
            if how < 0.3:
                true = float(dice.randrange(0, 8))
                made.settle(booking, true)
                spent[key] = max(0.0, spent[key] + true - units)
            elif how < 0.4:
                made.refund(booking)
                spent[key] = max(0.0, spent[key] - units)


async def test_the_waiting_room_is_bounded_and_who_leaves_it_lets_the_next_one_move_up():
    made = limit(20, burst=1, max_wait=10.0, max_waiting=2, clock=asyncio.get_running_loop().time)
    made.book("a", 1.0)
    first, second = made.book("a", 1.0), None
    waits = asyncio.ensure_future(made.wait(first))
    await asyncio.sleep(0)
    second = made.book("a", 1.0)
    also = asyncio.ensure_future(made.wait(second))
    await asyncio.sleep(0)
    assert made.waiting == 2
    with pytest.raises(RateLimitedError):
        made.book("a", 1.0)
    assert made.refused == 1
    planned = second.turn.at
    waits.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waits
    assert made.waiting == 1
    assert second.turn.at < planned
    await also
    assert made.waiting == 0


def test_a_flood_of_made_up_callers_is_bounded_and_known_ones_keep_what_they_owe():
    made = limit(1, 3600.0, max_keys=100)
    made.book("known", 1.0)
    for each in range(500):
        try:
            made.book(each, 1.0)
        except RateLimitedError:
            pass
    assert made.keys <= 100
    with pytest.raises(RateLimitedError):
        made.book("known", 1.0)


def test_a_limit_of_the_same_name_goes_on_under_another_policy_and_refills_nothing():
    registry = Registry(clock=Clock())
    first = limit_named("l", registry, policy_of(2, 3600.0), 10)
    first.book("a", 1.0)
    first.book("a", 1.0)
    again = limit_named("l", registry, policy_of(3, 3600.0), 10)
    assert again is first
    again.book("b", 3.0)
    with pytest.raises(RateLimitedError):
        again.book("a", 1.0)
    assert limit_named("other", registry, policy_of(2, 1.0), 10) is not first


class Caller:
    def __init__(self, peer="192.0.2.1", headers=(), identity=None, route="/x", service="up"):
        self.head = RequestHead("GET", b"/", b"", "1.1", "http", headers, None if peer is None else (peer, 1), None)
        self.identity, self.route, self.service, self.client = identity, route, service, None


class Known:
    consumer, tenant, method, claims = "ada", "shop", "api_key", {"key": "k1"}


def addresses():
    return ClientAddresses(lambda peer: peer.startswith("10."))


@pytest.mark.parametrize(("words", "caller", "key"), [
    (["identity"], Caller(identity=Known()), ("identity", "ada")),
    (["identity"], Caller(), ("address", "192.0.2.1")),
    (["tenant"], Caller(identity=Known()), ("tenant", "shop")),
    (["api_key"], Caller(identity=Known()), ("api_key", "ada", "k1")),
    (["api_key"], Caller(), ("address", "192.0.2.1")),
    (["address"], Caller(peer=None), ("address", "unknown")),
    (["address"], Caller(peer="2001:db8:1:2:3::4"), ("address", "2001:db8:1:2::/64")),
    (["address", "route"], Caller(), (("address", "192.0.2.1"), ("route", "/x"))),
    (["service"], Caller(), ("service", "up")),
    (["header:X-Team"], Caller(headers=[(b"x-team", b"a"), (b"x-team", b"b")]), ("header", b"a,b")),
    (["header:X-Team"], Caller(), ("header", b"")),
])
def test_whose_a_request_is(words, caller, key):
    assert CallerKeys(words, addresses())(caller) == key


def plain_client(peer, elements):
    """The client, found hop by hop."""
    client = peer
    for element in reversed(elements):
        if not client.startswith("10."):
            break
        if element == "junk":
            break
        client = element
    return client


def test_the_client_is_found_through_trusted_proxies_and_cannot_choose_its_address():
    known = addresses()
    for seed in range(300):
        dice = random.Random(seed)
        elements = [dice.choice(["10.0.0.9", "10.1.1.1", "203.0.113.5", "198.51.100.2", "junk"]) for _ in range(dice.randrange(0, 6))]
        peer = dice.choice(["10.0.0.1", "192.0.2.1"])
        cut = dice.randrange(0, len(elements) + 1)
        headers = [(b"x-forwarded-for", ", ".join(part).encode()) for part in (elements[:cut], elements[cut:]) if part]
        assert known.client_of(Caller(peer=peer, headers=headers).head) == plain_client(peer, elements)


@pytest.mark.parametrize(("element", "client"), [
    (b"203.0.113.5:8080", "203.0.113.5"), (b"[2001:db8::1]:443", "2001:db8::1"), (b"2001:db8::1", "2001:db8::1"),
    (b"::ffff:203.0.113.5", "203.0.113.5"), (b"fe80::1%eth0", "fe80::1"), (b"unknown", "10.0.0.1"), (b"", "10.0.0.1"),
    (b"1.2.3", "10.0.0.1"), (b"\xff", "10.0.0.1"),
])
def test_what_a_proxy_may_write_for_an_address(element, client):
    assert addresses().client_of(Caller(peer="10.0.0.1", headers=[(b"x-forwarded-for", element)]).head) == client


def test_a_list_of_ten_thousand_trusted_hops_is_not_followed_for_ever():
    headers = [(b"x-forwarded-for", b", ".join([b"203.0.113.5"] + [b"10.0.0.2"] * 10_000))]
    assert addresses().client_of(Caller(peer="10.0.0.1", headers=headers).head) == "10.0.0.2"


def test_mapped_addresses_and_networks():
    assert network_of("::ffff:192.0.2.1") == "192.0.2.1"
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:1") != network_of("2001:db8:0:1::1")
    assert network_of("unix") == "unix"


def test_fields_of_limits_are_structured_fields():
    assert policy_field('a"b\\', 10, 0.2) == (b"ratelimit-policy", b'"a\\"b\\\\";q=10;w=1')
    assert policy_field("l", 10, 60.0, "tokens") == (b"ratelimit-policy", b'"l";q=10;qu="tokens";w=60')
    assert limit_field("l", 4.9, 1.2) == (b"ratelimit", b'"l";r=4;t=2')
    assert limit_field("l", -5.0, 0.0) == (b"ratelimit", b'"l";r=0;t=0')


def read(body, kind=b"application/json", *, pointers=("/usage/a", "/usage/b"), header=None, headers=(), sizes=None):
    cost = AnswerCost(header, pointers)
    cost.head(200, [(b"content-type", kind), *headers])
    at = 0
    while at < len(body):
        size = len(body) if sizes is None else sizes.randrange(1, 8)
        cost.piece(body[at : at + size])
        at += size
    return cost.units(1.0, is_whole=True)


@pytest.mark.parametrize(("body", "units"), [
    ({"usage": {"a": 3, "b": 4.5}}, 7.5), ({"usage": {"a": 3}}, 3.0), ({"usage": None}, None), ({}, None), ([], None),
    ({"usage": {"a": True}}, None), ({"usage": {"a": -1}}, None), ({"usage": {"a": "5"}}, None), ({"usage": {"a": 1e300}}, None),
])
def test_what_an_answer_of_json_says_that_it_cost(body, units):
    assert read(json.dumps(body).encode()) == units


def test_what_cannot_be_read_says_nothing():
    usage = b'{"usage":{"a":1}}'
    assert read(usage, b"text/plain") is None
    assert read(usage, headers=[(b"content-encoding", b"gzip")]) is None
    assert read(usage[:-1]) is None
    assert read(b"[" * 100_000) is None
    assert read(b'{"pad":"' + b"x" * MAX_JSON + b'","usage":{"a":1}}') is None
    assert read(usage, b"application/problem+json; charset=utf-8") == 1.0


def test_a_header_goes_before_the_body():
    assert read(b'{"usage":{"a":1}}', header="X-Cost", headers=[(b"x-cost", b" 12.5 ")]) == 12.5
    for odd in (b"-1", b"1e9", b"nan", b"", b"9" * 30, b"1,2"):
        assert units_in(odd) is None


EVENTS = [b"data: {\"usage\":{\"a\":1}}", b"", b": comment", b"event: x", b"data: {\"usage\":{\"a\":2,", b"data: \"b\":3}}", b"",
          b"data: {\"usage\":null}", b"", b"data: {\"usage\": {\"b\" : 7}}", b"", b"data: [DONE]", b"", b"data: {\"usage\":{\"a\":99}}"]


def test_the_last_event_with_a_number_counts_however_the_stream_is_cut_and_its_lines_end():
    for seed in range(60):
        dice = random.Random(seed)
        stream = b"".join(line + dice.choice([b"\n", b"\r\n"]) for line in EVENTS)  # the last event is not over
        assert read(stream, b"text/event-stream", sizes=dice) == 9.0


def test_an_event_without_end_keeps_no_memory():
    cost = AnswerCost(None, ("/usage/a",))
    cost.head(200, [(b"content-type", b"text/event-stream")])
    for _ in range(100):
        cost.piece(b"data: " + b"x" * MAX_EVENT)
    assert len(cost._events._rest) <= 2 * MAX_EVENT
    assert cost.units(1.0, is_whole=True) is None
    cost = AnswerCost(None, ("/usage/a",))
    cost.head(200, [(b"content-type", b"text/event-stream")])
    for _ in range(100):
        cost.piece(b"data: " + b"x" * 10_000 + b"\n")
    assert sum(map(len, cost._events._data)) <= 2 * MAX_EVENT
