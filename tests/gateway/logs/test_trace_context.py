"""Traces: which headers name one, what upstreams are told, and whom the gateway believes."""

import random

import pytest

from resilience.gateway.client_addresses import ClientAddresses
from resilience.gateway.config import TracingSettings
from resilience.gateway.logs.observed_request import ObservedRequest
from resilience.gateway.logs.observer import Tracer, id_is_fit
from resilience.gateway.logs.trace_context import parent_of, state_of
from resilience.gateway.messages.exchange import Request
from resilience.gateway.messages.inbound import RequestHead

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
VALID = f"00-{TRACE}-{SPAN}-01".encode()


class Inbound:
    hop = None
    trailers = ()

    def __init__(self, headers, peer):
        self.head = RequestHead("GET", b"/", b"", "1.1", "http", headers, (peer, 1), None)


def traced(*headers, peer="192.0.2.1", **settings):
    tracer = Tracer(TracingSettings(**settings), ClientAddresses(lambda each: each == "10.0.0.1"),
                    bits=random.Random(3).getrandbits, chance=lambda: 0.5)
    observed = ObservedRequest(Inbound(list(headers), peer), lambda: 0.0)
    tracer.begin(observed)
    request = Request(method="GET", target=b"/", host=None, headers=[(b"accept", b"*/*"), *headers])
    tracer.to_upstream(observed, request)
    return observed, request.headers


@pytest.mark.parametrize(("value", "parent"), [
    (VALID, (TRACE, SPAN, 1)),
    (f"00-{TRACE}-{SPAN}-00".encode(), (TRACE, SPAN, 0)),
    (f"00-{TRACE}-{SPAN}-ff".encode(), (TRACE, SPAN, 3)),
    (f"cc-{TRACE}-{SPAN}-01-what-the-future-has".encode(), (TRACE, SPAN, 1)),
    (f"cc-{TRACE}-{SPAN}-01".encode(), (TRACE, SPAN, 1)),
    (f"00-{TRACE}-{SPAN}-01-".encode(), None),
    (f"cc-{TRACE}-{SPAN}-01.".encode(), None),
    (f"ff-{TRACE}-{SPAN}-01".encode(), None),
    (f"00-{'0' * 32}-{SPAN}-01".encode(), None),
    (f"00-{TRACE}-{'0' * 16}-01".encode(), None),
    (f"00-{TRACE.upper()}-{SPAN}-01".encode(), None),
    (f"00-{TRACE}-{SPAN}".encode(), None), (b"", None), (VALID + b"\n", None), (b" " + VALID, None),
])
def test_what_a_traceparent_names(value, parent):
    assert parent_of(value) == parent


@pytest.mark.parametrize(("values", "state"), [
    ([b"a=1,b=2"], b"a=1,b=2"), ([b"a=1", b"b=2"], b"a=1,b=2"), ([b"a=1,,b=2"], b"a=1,b=2"), ([b"a@v=x y"], b"a@v=x y"),
    ([b"a=1,a=2"], b""), ([b"A=1"], b""), ([b"a"], b""), ([b"a=\xff"], b""), ([b"a=" + b"x" * 300], b""),
    ([b",".join(b"k%d=1" % n for n in range(32))], b",".join(b"k%d=1" % n for n in range(32))),
    ([b",".join(b"k%d=1" % n for n in range(33))], b""), ([b"a=1"] * 2000, b""),
])
def test_what_is_passed_on_of_a_tracestate(values, state):
    assert state_of(values) == state


def test_a_trusted_caller_s_trace_goes_on_with_a_span_of_the_gateway_s_own():
    observed, sent = traced((b"traceparent", VALID), (b"tracestate", b"a=1"), peer="10.0.0.1")

    assert (observed.trace.trace_id, observed.trace.parent_id, observed.trace.sampled) == (TRACE, SPAN, True)
    told = dict(sent)
    assert told[b"traceparent"].startswith(f"00-{TRACE}-".encode())
    assert SPAN.encode() not in told[b"traceparent"]
    assert (told[b"tracestate"], told[b"accept"]) == (b"a=1", b"*/*")
    assert [name for name, _ in sent].count(b"traceparent") == 1


@pytest.mark.parametrize(("headers", "settings"), [
    ([(b"traceparent", VALID), (b"tracestate", b"a=1"), (b"x-request-id", b"mine")], {}),
    ([(b"traceparent", VALID), (b"tracestate", b"a=1"), (b"x-request-id", b"mine")], {"trust": "none"}),
    ([(b"traceparent", VALID), (b"traceparent", VALID), (b"tracestate", b"a=1")], {"trust": "all"}),
    ([(b"traceparent", b"junk"), (b"tracestate", b"a=1")], {"trust": "all"}),
    ([(b"tracestate", b"a=1")], {"trust": "all"}),
])
def test_a_stranger_s_trace_and_a_malformed_one_are_replaced(headers, settings):
    observed, sent = traced(*headers, **settings)
    told = dict(sent)
    assert TRACE.encode() not in told[b"traceparent"]
    assert parent_of(told[b"traceparent"])
    assert (observed.trace.parent_id, b"tracestate" in told) == (None, False)
    assert told[b"x-request-id"] == observed.trace.trace_id.encode()
    assert observed.answer_headers == ((b"x-request-id", told[b"x-request-id"]),)


def test_a_request_s_id_is_kept_if_its_sender_is_trusted_and_it_is_fit():
    assert dict(traced((b"x-request-id", b"abc-1"), trust="all")[1])[b"x-request-id"] == b"abc-1"
    for odd in (b"", b"a b", b'a"', b"a\n", b"x" * 129, b"\xff"):
        assert not id_is_fit(odd)
        assert dict(traced((b"x-request-id", odd), trust="all")[1])[b"x-request-id"] != odd
    twice = traced((b"x-request-id", b"a"), (b"x-request-id", b"b"), trust="all")[1]
    assert [value for name, value in twice if name == b"x-request-id"] not in ([b"a"], [b"b"])
    assert not any(name == b"x-request-id" for name, _ in traced(request_id=None)[1])
    assert dict(traced((b"x-id", b"7"), trust="all", request_id="X-Id")[1])[b"x-id"] == b"7"


def test_traces_that_begin_here_are_sampled_by_the_share_that_is_set():
    assert traced(sample=1.0)[0].trace.sampled
    assert traced(sample=0.6)[0].trace.sampled
    assert not traced(sample=0.4)[0].trace.sampled


def test_spans_of_opentelemetry_carry_the_ids_that_upstreams_are_told():
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    from opentelemetry.trace import get_current_span

    from resilience.gateway.logs.spans import Spans

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = Tracer(TracingSettings(trust="all", opentelemetry=True), ClientAddresses(lambda each: False),
                    bits=random.Random(3).getrandbits)
    tracer._spans = Spans(provider)
    observed = ObservedRequest(Inbound([(b"traceparent", VALID), (b"tracestate", b"a=1")], "192.0.2.1"), lambda: 0.0)
    tracer.begin(observed)
    assert get_current_span().is_recording()
    observed.status, observed.complete, observed.route, observed.service = 503, True, "/x", "up"
    observed.refused = "circuit_open"
    tracer.end(observed)
    tracer.end(observed)

    span, = exporter.get_finished_spans()
    assert not get_current_span().is_recording()
    assert (f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE, SPAN)
    assert (observed.trace.trace_id, observed.trace.span_id) == (TRACE, f"{span.context.span_id:016x}")
    assert (span.name, span.attributes["http.response.status_code"], span.attributes["error.type"]) == ("GET /x", 503, "circuit_open")
    assert span.status.status_code.name == "ERROR"
