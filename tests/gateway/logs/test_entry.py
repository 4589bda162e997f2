"""Lines of the access log: what they say, and what no client can make them say."""

import json
import random
import re

import pytest

from resilience.gateway.logs.entry import MAX_FIELD, clf_line, combined_line, escaped, json_line
from resilience.gateway.logs.observed_request import ObservedRequest
from resilience.gateway.logs.redaction import SECRET_PARAMETERS, QueryRedactor
from resilience.gateway.logs.trace_context import Trace
from resilience.gateway.messages.inbound import RequestHead

CLF = re.compile(r'\S+ - \S+ \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "((?:[^"\\]|\\.)*)" \d{3} (?:\d+|-)')
COMBINED = re.compile(CLF.pattern + r' "((?:[^"\\]|\\.)*)" "((?:[^"\\]|\\.)*)"')


class Inbound:
    hop = None
    trailers = ()

    def __init__(self, head):
        self.head = head


def over(method="GET", path=b"/items", query=b"", **noted):
    observed = ObservedRequest(Inbound(RequestHead(method, path, query, "1.1", "http", (), None, None)), lambda: 0.0)
    for name, value in {"status": 200, "complete": True, "ended": 1_700_000_000.25, "client": "192.0.2.7", **noted}.items():
        setattr(observed, name, value)
    return observed


def test_a_line_of_json_says_what_is_known_and_leaves_out_the_rest():
    line = json_line(over(query=b"a=1", sent=5, received=3, duration_s=0.25))
    assert json.loads(line) == {
        "time": "2023-11-14T22:13:20.250Z", "client": "192.0.2.7", "method": "GET", "path": "/items?a=1", "version": "1.1",
        "status": 200, "bytes_in": 3, "bytes_out": 5, "duration": 0.25}
    full = json.loads(json_line(over(
        status=503, complete=False, route="/items/*", service="up", endpoint="10.0.0.1:80", consumer="bob", refused="full",
        request_id="r", trace=Trace("a" * 32, "b" * 16, None, 1, b""), attempts=2, logged=[("User-Agent", b"curl\xff")])))
    assert {"route": "/items/*", "service": "up", "endpoint": "10.0.0.1:80", "consumer": "bob", "refused": "full",
            "request_id": "r", "trace_id": "a" * 32, "attempts": 2, "complete": False,
            "headers": {"User-Agent": "curl\xff"}}.items() <= full.items()
    assert json.loads(json_line(over(waited_at=1.0, head_at=1.5)))["upstream"] == 0.5
    assert json.loads(json_line(over(status=0)))["status"] == 499


def test_the_common_and_the_combined_format_are_those_of_apache():
    assert CLF.fullmatch(clf_line(over(sent=12)).rstrip("\n"))
    assert ' "GET /items HTTP/1.1" 200 12\n' in clf_line(over(sent=12))
    assert clf_line(over()).endswith('" 200 -\n')
    assert " - bob\\x20smith [" in clf_line(over(consumer="bob smith"))
    line = combined_line(over(logged=[("referer", b"http://x/"), ("user-agent", b'a"b\\c\x01')]))
    assert line.endswith(' "http://x/" "a\\"b\\\\c\\x01"\n')
    assert combined_line(over()).endswith('"-" "-"\n')


@pytest.mark.parametrize(("text", "written"), [
    ("plain ~!", "plain ~!"), ('a"b', 'a\\"b'), ("a\\b", "a\\\\b"), ("\n\r\t\v\b\f", "\\n\\r\\t\\v\\b\\f"),
    ("\x1b[2J", "\\x1b[2J"), ("\x00\x7f", "\\x00\\x7f"), ("\xe9", "\\xe9"), ("\u20ac", "\\xe2\\x82\\xac"), ("\ud800", "\\xed\\xa0\\x80")])
def test_apache_s_way_to_escape(text, written):
    assert escaped(text) == written


def test_whatever_a_client_sends_stays_one_line_in_its_field():
    dice = random.Random(7)
    marks = [bytes([each]) for each in range(256)] + [b'"', b"\\", b"\n", b"\r\n", b'" 200 5\n', b'","status":200}', b"\xe2\x80\xa8"]
    for _ in range(500):
        def junk():
            return b"".join(dice.choices(marks, k=dice.randrange(20)))
        path, agent = b"/" + junk(), junk()
        observed = over(path=path, query=junk(), method=dice.choice(["GET", "X" * 64]), logged=[("user-agent", agent)],
                       consumer=dice.choice([None, 'a "b"\n', "\u2028"]))
        line, clf, combined = json_line(observed), clf_line(observed), combined_line(observed)
        for each in (line, clf, combined):
            assert each.endswith("\n")
            assert each.isascii()
            assert all(" " <= mark <= "~" for mark in each[:-1])
        known = json.loads(line)
        assert known["path"].startswith(path.decode("latin-1"))
        assert known["headers"] == {"user-agent": agent.decode("latin-1")}
        assert CLF.fullmatch(clf[:-1])
        assert COMBINED.fullmatch(combined[:-1])


def test_no_field_is_longer_than_its_bound():
    line = json.loads(json_line(over(path=b"/" + b"a" * 100_000, query=b"b" * 100_000)))
    assert len(line["path"]) == 2 * MAX_FIELD + 1
    assert line["path"].endswith("...")


@pytest.mark.parametrize(("query", "shown"), [
    (b"a=1&token=secret&b=2", b"a=1&token=[redacted]&b=2"),
    (b"TOKEN=secret", b"TOKEN=[redacted]"),
    (b"t%6Fken=secret&x=%41", b"t%6Fken=[redacted]&x=%41"),
    (b"a=1;token=secret;b=2", b"a=1;token=[redacted];b=2"),
    (b"token[]=secret&token%5B0%5D=secret", b"token[]=[redacted]&token%5B0%5D=[redacted]"),
    (b"+token=secret&token+=secret", b"+token=[redacted]&token+=[redacted]"),
    (b"token&tokens=5&mytoken=6", b"token&tokens=5&mytoken=6"),
    (b"token=a=b=c", b"token=[redacted]"),
    (b"", b""), (b"&&;&", b"&&;&"), (b"=token", b"=token"), (b"q=token=5", b"q=token=5"),
])
def test_secrets_in_a_query_are_not_logged_however_their_names_are_spelt(query, shown):
    assert QueryRedactor(SECRET_PARAMETERS)(query) == shown


def test_without_names_nothing_is_hidden():
    assert QueryRedactor(())(b"token=1&%74oken=2") == b"token=1&%74oken=2"
