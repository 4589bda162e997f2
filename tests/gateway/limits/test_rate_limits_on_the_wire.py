"""Rate limits that the gateway's file names, in a gateway of its own process, byte for byte."""

import gzip
import json
import re
import threading
import zlib

import pytest

from resilience.gateway.filters.api_keys import digest
from tests.gateway.harness import OK, eventually, parsed, problem, running, shared_upstream

CONFIG = """
trusted_proxies = ["127.0.0.1"]
[services.up]
endpoints = ["{url}"]
[filters.per_address]
use = "rate_limit"
rate = 2
per = 3600.0
by = ["address"]
[filters.per_header]
use = "rate_limit"
rate = 1
per = 3600.0
by = ["header:X-Team", "route"]
fields = false
[filters.turns]
use = "rate_limit"
rate = 20
burst = 1
by = ["route"]
wait = 5.0
max_waiting = 2
[filters.tokens]
use = "rate_limit"
rate = 1000
per = 86400.0
by = ["address"]
cost = 100
cost_pointer = ["/max_tokens"]
answer_pointer = ["/usage/in", "/usage/out"]
unit = "tokens"
[filters.keys]
use = "api_keys"
[[filters.keys.keys]]
id = "a1"
sha256 = "{ada}"
consumer = "ada"
[[filters.keys.keys]]
id = "a2"
sha256 = "{ada2}"
consumer = "ada"
[[filters.keys.keys]]
id = "b"
sha256 = "{bob}"
consumer = "bob"
[filters.per_user]
use = "rate_limit"
rate = 1
per = 86400.0
by = ["identity", "route"]
[[routes]]
path = "/mine/*"
service = "up"
filters = ["keys", "per_user"]
[[routes]]
path = "/yours/*"
service = "up"
filters = ["keys", "per_user"]
[[routes]]
path = "/address/*"
service = "up"
filters = ["per_address"]
[[routes]]
path = "/team/*"
service = "up"
filters = ["per_header"]
[[routes]]
path = "/turns/*"
service = "up"
filters = ["turns"]
[[routes]]
path = "/tokens/*"
service = "up"
filters = ["tokens"]
[[routes]]
path = "/*"
service = "up"
"""


upstream = shared_upstream()


@pytest.fixture(scope="module")
def gateway(upstream, tmp_path_factory):
    with running(tmp_path_factory.mktemp("limits"), CONFIG.format(
            url=upstream.url, ada=digest("a1.x"), ada2=digest("a2.x"), bob=digest("b.x"))) as made:
        yield made


def via(address):
    return f"X-Forwarded-For: {address}\r\n"


def left(headers, name="per_address"):
    return int(re.fullmatch(rf'"{name}";r=(\d+);t=\d+', headers["ratelimit"])[1])


def test_each_address_has_a_limit_of_its_own_and_is_told_what_is_left(gateway, upstream):
    first = gateway.get("/address/1", headers=via("198.51.100.1"))
    assert (200, '"per_address";q=2;w=3600') == (first[0], first[1]["ratelimit-policy"])
    assert left(first[1]) == 1
    assert left(gateway.get("/address/2", headers=via("198.51.100.1"))[1]) == 0

    status, headers, body = gateway.get("/address/3", headers=via("198.51.100.1"))

    assert (status, left(headers), problem((status, headers, body))["detail"]) == (429, 0, "the limit per_address is reached")
    assert 1790 < int(headers["retry-after"]) <= 1800
    assert headers["content-type"] == "application/problem+json"
    assert upstream.count("/address/3") == 0
    assert gateway.get("/address/4", headers=via("198.51.100.2"))[0] == 200


def test_a_longer_list_of_proxies_and_another_address_of_its_network_give_nobody_a_fresh_limit(gateway):
    for number in range(2):
        assert gateway.get("/address/a", headers=via(f"203.0.113.{number}, 198.51.100.9"))[0] == 200
    assert gateway.get("/address/a", headers=via("203.0.113.9, 198.51.100.9"))[0] == 429
    for number in range(2):
        assert gateway.get("/address/b", headers=via(f"2001:db8::{number}"))[0] == 200
    assert gateway.get("/address/b", headers=via("2001:db8::ffff"))[0] == 429
    assert gateway.get("/address/b", headers=via("2001:db8:0:1::1"))[0] == 200


def test_words_together_make_one_key_and_fields_can_be_switched_off(gateway):
    assert gateway.get("/team/1", headers="X-Team: red\r\n")[0] == 200
    status, headers, _ = gateway.get("/team/1", headers="X-Team: red\r\n")
    assert (429, False) == (status, "ratelimit" in headers)
    assert gateway.get("/team/1", headers="X-Team: blue\r\n")[0] == 200


def test_those_who_may_wait_get_their_turn_and_the_waiting_room_is_bounded(gateway):
    answers = []

    def ask():
        answers.append(gateway.get("/turns/1")[0])

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert {200, 429} == set(answers)
    assert answers.count(200) >= 3


def test_tokens_are_booked_as_estimated_and_settled_as_the_answer_says(gateway, upstream):
    body = json.dumps({"choices": [], "usage": {"in": 30, "out": 12}}).encode()
    upstream.on("/tokens/json", b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    events = (b'data: {"usage":null}\r\n\r\ndata: {"message":{},"usage":{"in":50}}\n\n'
              b'data: {"usage":{"out":1}}\n\ndata: {"usage":{"out":8}}\n\ndata: [DONE]\n\n')
    upstream.on("/tokens/events", b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + events)

    def ask(path, said):
        data = json.dumps(said).encode()
        return parsed(gateway.raw(b"POST %b HTTP/1.1\r\nHost: gw\r\nConnection: close\r\nContent-Length: %d\r\n"
                                  b"X-Forwarded-For: 198.51.100.77\r\nAccept-Encoding: gzip\r\n\r\n%b" % (path, len(data), data)))

    def settled(units):
        return eventually(lambda: left(ask(b"/tokens/probe", {"max_tokens": 0})[1], "tokens") == units, f"{units} tokens left")

    status, headers, _ = ask(b"/tokens/json", {"max_tokens": 400})
    assert (status, headers["ratelimit-policy"], left(headers, "tokens")) == (200, '"tokens";q=1000;qu="tokens";w=86400', 600)
    assert upstream.called("/tokens/json").header(b"accept-encoding") == [b"identity"]
    assert settled(958)
    status, headers, _ = ask(b"/tokens/events", {})  # 100 is the estimate of what says nothing
    assert (status, left(headers, "tokens")) == (200, 858)
    assert settled(900)
    status, headers, _ = ask(b"/tokens/json", {"max_tokens": 901})
    assert (status, left(headers, "tokens")) == (429, 0)


def test_what_no_service_was_asked_for_takes_no_tokens(gateway, upstream):
    assert left(gateway.get("/tokens/1", headers=via("198.51.100.88"))[1], "tokens") == 900
    upstream.on("/tokens/gone", lambda call: call.reset())
    assert gateway.get("/tokens/gone", headers=via("198.51.100.88"))[0] == 502  # it was asked: the estimate stands
    assert left(gateway.get("/tokens/2", headers=via("198.51.100.88"))[1], "tokens") == 700


def test_a_compressed_request_books_what_it_says_and_one_that_cannot_be_read_gets_nothing(gateway, upstream):
    def ask(coding, data):
        return parsed(gateway.raw(b"POST /tokens/coded HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n"
                                  b"X-Forwarded-For: 198.51.100.99\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n%b"
                                  % (coding, len(data), data)))

    seen = []

    def answer(call):
        seen.append(call.body())
        call.send(OK)

    upstream.on("/tokens/coded", answer)
    text = json.dumps({"max_tokens": 300}).encode()
    coded = gzip.compress(text)
    status, headers, _ = ask(b"gzip", coded)
    assert (status, left(headers, "tokens")) == (200, 700)
    assert seen == [coded], "it is passed on as it came"
    status, headers, _ = ask(b"Deflate", zlib.compress(text))
    assert (status, left(headers, "tokens")) == (200, 400)
    status, headers, _ = ask(b"br", text)
    assert (status, headers["accept-encoding"]) == (415, "gzip, deflate")
    assert ask(b"gzip", text)[0] == 400
    assert ask(b"gzip", gzip.compress(bytes(2 << 20)))[0] == 413
    assert left(ask(b"identity", text)[1], "tokens") == 100, "what was refused has booked nothing"


@pytest.mark.parametrize(("body", "kind", "status", "booked"), [
    ({"max_tokens": 30}, "application/json", 200, 30), (b'{"max_tokens": 30, "max_tokens": 1}', "application/json", 400, 0),
    (b'{"max_tokens": 1e999}', "application/vnd.x+json", 400, 0), (b"{", "application/json", 400, 0), (b"", "application/json", 200, 100),
    (b"{", "text/plain", 200, 100), (b'{"max_tokens": 7}', "text/plain", 200, 7), ({"x": "\ud83d", "max_tokens": 8}, "application/json", 200, 8),
    (b"[" + b"1," * 100_000 + b"1]", "application/json", 413, 0), (b"[" + b"1," * 90_000 + b"1]", "application/json", 200, 100),
    (b"[" * 1000, "application/json", 400, 0)])
def test_a_body_that_two_could_read_differently_books_nothing_and_gets_nothing(gateway, upstream, body, kind, status, booked):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    address = b"2001:db8:%x::1" % (zlib.crc32(data + kind.encode()) & 0xFFFF)

    def ask(data, kind):
        return parsed(gateway.raw(b"POST /tokens/any HTTP/1.1\r\nHost: gw\r\nConnection: close\r\nX-Forwarded-For: %b\r\n"
                                  b"Content-Type: %b\r\nContent-Length: %d\r\n\r\n%b" % (address, kind.encode(), len(data), data)))

    assert ask(data, kind)[0] == status
    assert left(ask(b'{"max_tokens": 0}', "application/json")[1], "tokens") == 1000 - booked


def test_each_user_has_a_limit_on_each_route_whichever_key_they_use(gateway):
    def ask(key, path="/mine/1"):
        return gateway.get(path, headers=f"X-API-Key: {key}\r\n")[0]

    assert (ask("a1.x"), ask("a1.x"), ask("a2.x")) == (200, 429, 429)
    assert (ask("b.x"), ask("b.x")) == (200, 429)
    assert (ask("a2.x", "/yours/1"), ask("a1.x", "/yours/1")) == (200, 429)
    assert ask("b.wrong", "/yours/1") == 401
    text = gateway.admin_get("/metrics")
    assert 'resilience_gateway_consumer_requests_total{consumer="ada",status="4xx"} 3.0' in text
