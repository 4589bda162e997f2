"""Keys come and go: memory stays flat, and whatever has gone has left streams, exporters and registry.

facts/hystrix.md section 5, wish 11, never granted: "evict unused keys", Hystrix #1794 (open), #1737,
#360 (5,000 commands took 1.5 GB, and the stream was slow from 700 on).
"""

import gc
import json
import logging
import subprocess
import sys
import tracemalloc
import weakref

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

import resilience
from resilience import AdaptiveLimit, CircuitBreaker, Registry, Retry, Throttle, circuit_breaker, command
from resilience.events import CommandRemoved
from resilience.metrics import hystrix, stream
from resilience.metrics.prometheus import Collector
from resilience.testing import ManualClock

_CHILD = """
import gc, json, resource
from resilience import Registry, circuit_breaker
from resilience.metrics import hystrix, stream
from resilience.metrics.prometheus import Collector
from prometheus_client import CollectorRegistry, generate_latest

gc.disable()  # what an evicted command leaves behind does not even wait for the collector
registry = Registry()
page = CollectorRegistry(auto_describe=False)
page.register(Collector(registry))
encoders = hystrix.Encoder(), stream.Encoder()

@circuit_breaker(key=lambda host: f"host {host}", registry=registry, max_keys=200)
def get(host):
    return host

def resident():
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

def look():
    return [sum(1 for text in encoder.messages(registry, 0) if "Removed" not in text) for encoder in encoders], \\
        generate_latest(page).count(b"resilience_command_in_flight{")

marks = []
for n in range(10_000):
    get(n)
    if n in (1_999, 9_999):
        seen = look()
        gc.collect()
        marks.append(resident())
print(json.dumps([*marks, seen, len(registry), len(get.resilience)]))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_ten_thousand_keys_leave_memory_flat():
    done = subprocess.run([sys.executable, "-c", _CHILD], capture_output=True, text=True, check=False, timeout=900)
    assert "" == done.stderr
    early, late, seen, in_registry, in_handle = json.loads(done.stdout)

    assert late - early < 800_000  # of 8,000 keys: 100 bytes each; a command takes some 6,000
    assert ([[200, 200], 200], 200, 200) == (seen, in_registry, in_handle)


FULL = {"timeout": None, "retry": Retry(), "throttle": Throttle(), "adaptive_limit": AdaptiveLimit(),
        "fallback": lambda key, fail=False: 0}


def _use(fn, key):
    fn(key)
    fn(key, fail=True)


def _work(key, fail=False):
    if fail:
        raise LookupError
    return key


def test_nothing_that_all_commands_share_grows_with_the_keys_that_ever_were():
    """tracemalloc, to the byte: emitter, pools, budgets, configuration, compiled text, weak references."""
    clock = ManualClock()
    registry = Registry(clock=clock)
    configuration = resilience.configure({"defaults": {"max_concurrent": 7}, "groups": {"g": {"timeout": 2.0}}},
                                         registry=registry, environ={})
    heard = []
    registry.subscribe(CommandRemoved, lambda event: heard.append(None))
    full = command(key=lambda key, **_: key, registry=registry, group="g", max_keys=20, **FULL)(_work)
    threaded = command(key=lambda key, **_: key, registry=registry, group="t", max_keys=20,
                       fallback=lambda key, fail=False: 0)(_work)
    encoders = hystrix.Encoder(), stream.Encoder()

    def come_and_go(first, last):
        for n in range(first, last):
            _use(full, f"full {n}")
            _use(threaded, f"threaded {n}")
            if n % 50 == 0:
                clock.advance(1.0)
                for encoder in encoders:
                    for _ in encoder.messages(registry, 0):
                        pass

    come_and_go(0, 100)
    heard.clear()
    gc.collect()
    tracemalloc.start()
    try:
        come_and_go(100, 200)
        heard.clear()
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        come_and_go(200, 400)
        assert 400 == len(heard)
        heard.clear()
        gc.collect()
        growth = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
        registry.close()
        configuration.close()

    assert growth < 4_000  # 10 bytes for each key


def test_a_command_is_freed_when_it_goes_without_waiting_for_the_collector():
    registry = Registry(clock=ManualClock())
    get = command(key=lambda key, **_: key, registry=registry, max_keys=1, breaker=CircuitBreaker(min_calls=50),
                  **FULL)(_work)
    gc.collect()
    gc.disable()
    try:
        _use(get, "a")
        command_of_a, wrapper_of_a = weakref.ref(registry["a"]), weakref.ref(get.resilience._keyspace.table["a"].call)
        _use(get, "b")
        assert (None, None) == (command_of_a(), wrapper_of_a())
    finally:
        gc.enable()


@pytest.mark.parametrize("way", ["idle", "room", "remove", "clear"])
def test_a_key_that_has_gone_has_left_streams_exporters_and_registry(way):
    clock = ManualClock()
    registry = Registry(clock=clock)
    page = CollectorRegistry(auto_describe=False)
    page.register(Collector(registry))
    ours, theirs = stream.Encoder(), hystrix.Encoder()
    get = circuit_breaker(key=str, registry=registry, max_keys=2, idle=10.0)(lambda key: key)
    get("a")
    clock.advance(5.0)
    get("b")

    def seen():
        messages = [json.loads(text) for text in ours.messages(registry, 0)]
        samples = [sample for family in text_string_to_metric_families(generate_latest(page).decode())
                   for sample in family.samples]
        return (
            sorted(each["key"] for each in messages if each["type"] == "ResilienceCommand"),
            [each["key"] for each in messages if each["type"] == "ResilienceRemoved"],
            sorted(json.loads(text)["name"] for text in theirs.messages(registry, 0)),
            sorted(json.loads(hystrix.config_message(registry))["commands"]),
            sorted(json.loads(hystrix.utilization_message(registry))["commands"]),
            sorted({sample.labels["command"] for sample in samples}),
            sorted(registry.save()),
        )

    there = ["a", "b"]
    assert (there, [], there, there, there, there, there) == seen()
    if way == "idle":
        clock.advance(5.0)
    elif way == "room":
        get("c")
    elif way == "remove":
        registry.remove("a")
    else:
        get.resilience.clear()
    left = {"room": ["b", "c"], "clear": []}.get(way, ["b"])
    gone = there if way == "clear" else ["a"]
    found = seen()

    assert (left, gone) == (found[0], sorted(found[1]))
    assert [left] * 5 == list(found[2:])
    assert (left, left) == (sorted(ours._heads), sorted(theirs._templates))


def test_a_fixed_command_that_is_removed_leaves_them_too_and_is_told():
    clock = ManualClock()
    registry = Registry(clock=clock)
    told = []
    registry.subscribe(CommandRemoved, lambda event: told.append(event.key))
    fixed = circuit_breaker(key="fixed", registry=registry)(lambda: 1)
    encoders = stream.Encoder(), hystrix.Encoder()
    for encoder in encoders:
        assert 1 == len(list(encoder.messages(registry, 0)))
    assert registry.remove("fixed")
    assert not registry.remove("fixed")

    assert ["fixed"] == told
    assert ["ResilienceRemoved"] == [json.loads(text)["type"] for text in encoders[0].messages(registry, 0)]
    assert [] == list(encoders[1].messages(registry, 0))
    assert [] == [sample for family in Collector(registry).collect() for sample in family.samples]
    assert 1 == fixed()  # goes on working


def echo(key):
    return key


def test_a_mistake_in_a_file_about_all_keys_is_told_once(caplog):
    registry = Registry(clock=ManualClock())
    configuration = resilience.configure({"commands": {f"{__name__}.{echo.__qualname__}": {"timeout": 1.0}}}, registry=registry,
                                         environ={})
    get = circuit_breaker(key=str, registry=registry, max_keys=2)(echo)  # after the file, which is refused otherwise
    with caplog.at_level(logging.ERROR, "resilience"):
        for n in range(10):
            get(n)

    assert 1 == len(caplog.records)
    assert 1 == len(configuration.mistakes)
