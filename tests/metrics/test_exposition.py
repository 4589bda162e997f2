"""The text of a scrape, beside what prometheus_client writes of all metrics at once."""

import random

import pytest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder

from resilience import (
    AdaptiveLimit,
    Bulkhead,
    CircuitBreaker,
    RateLimit,
    Registry,
    Retry,
    ThreadPool,
    collapse,
    command,
)
from resilience.metrics import exposition
from resilience.metrics.exposition import Exposition
from resilience.metrics.prometheus import Collector, export_further

ACCEPTED = ["", "application/openmetrics-text; version=1.0.0", "text/plain; version=1.0.0; escaping=allow-utf-8"]
NAMES = ["plain", "%s %(x)s %%", 'quoted "twice"\\', "two\nlines\r\x85\u2028", "\x01key\x01", "\x01group\x01", "키 é 😀", "\ud800", "# TYPE x", "{} }"]
POLICIES = [CircuitBreaker(), Bulkhead(3, max_wait=1.0), AdaptiveLimit(), RateLimit(5), Retry(), None]


def commands(registry, draw, count):
    """Some calls of so many commands of various forms; some end well."""
    for number in range(count):
        policy = draw.choice(POLICIES)
        name, group = draw.choice(NAMES), draw.choice(NAMES)
        limit = {} if isinstance(policy, (Bulkhead, AdaptiveLimit)) else {"max_concurrent": draw.choice([None, 10])}

        @command(key=f"{name}{number}", group=group, timeout=None, policies=[policy] if policy else [], registry=registry, **limit)
        def call(seconds):
            registry.clock.advance(seconds)
            if seconds > 5:
                raise OSError

        for _ in range(draw.randrange(4)):
            try:
                call(draw.choice([0.0001, 0.3, 7.0]))
            except Exception:  # noqa: BLE001, S110 - whatever it is, it is counted
                pass


@pytest.mark.parametrize("accept", ACCEPTED)
def test_the_text_is_that_of_prometheus_client(accept, registry):
    draw, (encode, _) = random.Random(accept), choose_encoder(accept)
    text = Exposition(encode)
    for count in (0, 1, 30, 5):
        commands(registry, draw, count)
        pieces = list(text.text(registry))
        assert encode(Collector(registry)) == b"".join(pieces)
        assert [b""] * len(list(registry)) == pieces[:len(list(registry))]
        registry = Registry(clock=registry.clock)


@pytest.mark.parametrize("accept", ACCEPTED)
def test_what_is_no_command_stands_there_too_and_each_head_once(accept, registry, clock):
    encode, _ = choose_encoder(accept)
    command(key="k", group='odd %s "', pool=ThreadPool(2), registry=registry)(len)("abc")
    collapse(command(key="c", registry=registry, timeout=None)(lambda ids: ids))
    for number in range(2):
        family = GaugeMetricFamily("further", "Of others.", labels=("number",))
        family.add_metric([str(number)], number)
        export_further(registry, lambda family=family: [family])
    found = b"".join(Exposition(encode).text(registry))
    assert encode(Collector(registry)) == found
    assert (1, 2) == (found.count(b"# TYPE further gauge"), found.count(b"further{"))


def test_forms_are_remembered_and_not_without_end(registry, monkeypatch):
    monkeypatch.setattr(exposition, "_MOST", 3)
    encode, _ = choose_encoder("")
    written = []

    def counted(collector):
        written.append(collector)
        return encode(collector)

    text = Exposition(counted)
    commands(registry, random.Random(1), 40)
    for _ in range(2):
        assert encode(Collector(registry)) == b"".join(text.text(registry))
    monkeypatch.setattr(exposition, "_MOST", 256)
    list(text.text(registry))
    before = len(written)
    list(text.text(registry))
    heads = len(list(Collector(registry).describe()))
    assert heads == len(written) - before  # nothing but heads is written anew
