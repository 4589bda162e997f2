"""The interceptor of grpc against a real server: verdicts, permits until the RPC ends, refusals as RpcErrors."""

from __future__ import annotations

import gc
import pickle
import random
import threading

import grpc
import pytest

from resilience import (
    BulkheadFullError,
    CircuitBreaker,
    CircuitOpenError,
    FailureRules,
    Registry,
    Retry,
    command,
    deadline,
)
from resilience.core.http_status import GRPC
from resilience.errors import ConfigError
from resilience.integrations.grpc import GuardInterceptor
from resilience.integrations.grpc_status import FAILURES, GuardRpcError
from tests.drivers.until import until
from tests.integrations.rpc import Server, Stub

NEVER = CircuitBreaker(min_calls=1000)


@pytest.fixture
def server():
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def stubs(server):
    """Makes a stub whose channel is guarded, and returns it with its registry."""
    channels = []

    def make(**settings):
        registry = Registry()
        channel = grpc.insecure_channel(server.target)
        channels.append(channel)
        settings = {"breaker": NEVER, **settings}
        return Stub(grpc.intercept_channel(channel, GuardInterceptor(registry=registry, **settings))), registry

    yield make
    for channel in channels:
        channel.close()


VERDICTS = ("success", "failure", "busy", "bad_request", "timeout")


def counts(registry, method="Get"):
    """The calls by verdict, without those of which there is none."""
    found = registry[f"shop.Stock/{method}"].snapshot().counts
    return {name: found[name] for name in VERDICTS if found[name]}


def in_flight(registry, method):
    return registry[f"shop.Stock/{method}"].snapshot().in_flight


def test_each_method_is_a_command_and_its_status_codes_are_judged(stubs):
    stub, registry = stubs()
    assert b"fine" == stub.Get(b"fine")
    for code in ("NOT_FOUND", "UNAVAILABLE", "INTERNAL", "UNIMPLEMENTED", "RESOURCE_EXHAUSTED", "CANCELLED"):
        with pytest.raises(grpc.RpcError) as caught:
            stub.Get(code.encode())
        assert (code, "as asked") == (caught.value.code().name, caught.value.details())
    with pytest.raises(grpc.RpcError):
        stub.Get(b"pushback")
    assert {"success": 1, "failure": 2, "bad_request": 3, "busy": 2} == counts(registry)
    assert [b"one", b"two"] == list(stub.List(b"one two"))
    assert b"1 2" == stub.Sum(iter((b"1", b"2")))
    assert [b"a", b"b"] == list(stub.Chat(iter((b"a", b"b"))))
    assert [{"success": 1}] * 3 == [counts(registry, method) for method in ("List", "Sum", "Chat")]
    assert {"grpc"} == {handle.group for handle in registry}


def test_an_open_circuit_refuses_with_an_error_that_is_both(stubs, server):
    stub, registry = stubs(breaker=CircuitBreaker(consecutive=1, open_for=5.0, failure_rate=None))
    for call in (lambda: stub.Get(b"UNAVAILABLE"), lambda: list(stub.List(b"UNAVAILABLE")),
                 lambda: stub.Sum(iter([b"UNAVAILABLE"])), lambda: list(stub.Chat(iter([b"UNAVAILABLE"])))):
        with pytest.raises(grpc.RpcError):
            call()
    before = len(server.calls)
    for call in (lambda: stub.Get(b"fine"), lambda: stub.Get.future(b"fine").result(), lambda: list(stub.List(b"fine")),
                 lambda: stub.Sum(iter([b"fine"])), lambda: list(stub.Chat(iter([b"fine"])))):
        with pytest.raises(grpc.RpcError) as caught:
            call()
        error = caught.value
        assert isinstance(error, CircuitOpenError)
        assert isinstance(error, GuardRpcError)
        assert (grpc.StatusCode.UNAVAILABLE, "grpc-retry-pushback-ms") == (error.code(), error.trailing_metadata()[0][0])
        assert "the circuit is open" in error.details()
        again = pickle.loads(pickle.dumps(error))
        assert (error.key, error.code(), str(error)) == (again.key, again.code(), str(again))
    assert before == len(server.calls)


def test_a_retry_around_the_stub_heeds_the_pushback_and_gives_up_where_the_caller_is_to_blame(stubs, server):
    stub, registry = stubs()

    @command(timeout=None, failures=FAILURES, retry=Retry(attempts=3, base=0.001, max_delay=0.001), registry=Registry())
    def get(word):
        return stub.Get(word)

    before = len(server.calls)
    for word in (b"INTERNAL", b"NOT_FOUND", b"pushback"):  # in 1.5 s, longer than the retry is told to wait
        with pytest.raises(grpc.RpcError):
            get(word)
    assert 3 + 1 + 1 == len(server.calls) - before


def test_a_stream_holds_its_slot_until_it_has_been_read(stubs):
    stub, registry = stubs(max_concurrent=1)
    stream = stub.List(b"one two")
    assert b"one" == next(stream)
    with pytest.raises(grpc.RpcError) as caught:
        next(stub.List(b"three"))
    assert isinstance(caught.value, BulkheadFullError)
    assert [b"two"] == list(stream)
    assert [b"three"] == list(stub.List(b"three"))
    assert {"success": 2} == counts(registry, "List")


def test_a_dropped_stream_gives_its_slot_back_and_ends_the_rpc(stubs, server):
    stub, registry = stubs(max_concurrent=1)
    stream = stub.List(b"one hang")
    assert b"one" == next(stream)
    server.hanging.acquire()
    assert 1 == in_flight(registry, "List")
    del stream
    gc.collect()
    assert 0 == in_flight(registry, "List")
    assert server.ended.acquire(timeout=30)
    never_read = stub.List(b"hang")
    assert 1 == in_flight(registry, "List")
    del never_read
    gc.collect()
    assert 0 == in_flight(registry, "List")


def test_a_stream_that_is_cancelled_and_read_no_more_gives_its_slot_back(stubs, server):
    stub, registry = stubs(max_concurrent=1)
    stream = stub.List(b"one hang")
    next(stream)
    stream.cancel()
    until(lambda: in_flight(registry, "List") == 0)
    with pytest.raises(grpc.RpcError):
        next(stream)
    assert {} == counts(registry, "List")
    assert grpc.StatusCode.CANCELLED is stream.code()


def test_a_stream_whose_deadline_passes_while_nobody_reads_gives_its_slot_back_and_has_failed(stubs):
    stub, registry = stubs(max_concurrent=1)
    stream = stub.List(b"one hang", timeout=0.05)
    until(lambda: in_flight(registry, "List") == 0)
    assert {"failure": 1} == counts(registry, "List")
    with pytest.raises(grpc.RpcError) as caught:
        list(stream)
    assert grpc.StatusCode.DEADLINE_EXCEEDED is caught.value.code()


def test_a_future_holds_its_slot_until_it_is_done(stubs, server):
    stub, registry = stubs(max_concurrent=1)
    future = stub.Get.future(b"hang")
    assert 1 == in_flight(registry, "Get")
    refused = stub.Get.future(b"fine")
    assert isinstance(refused.exception(), BulkheadFullError)
    server.go.set()
    assert b"hang" == future.result()
    until(lambda: in_flight(registry, "Get") == 0)
    failed = stub.Get.future(b"INTERNAL")
    assert grpc.StatusCode.INTERNAL is failed.exception().code()
    until(lambda: in_flight(registry, "Get") == 0)
    server.go.clear()
    cancelled = stub.Get.future(b"hang")
    cancelled.cancel()
    until(lambda: in_flight(registry, "Get") == 0)
    assert {"success": 1, "failure": 1} == counts(registry)


def test_the_callers_deadline_is_the_rpcs_and_no_fault_of_the_server(stubs):
    stub, registry = stubs()
    with deadline(0.05), pytest.raises(grpc.RpcError) as caught:
        stub.Get(b"hang")
    assert grpc.StatusCode.DEADLINE_EXCEEDED is caught.value.code()
    assert "failure" not in counts(registry)
    with pytest.raises(grpc.RpcError):
        stub.Get(b"hang", timeout=0.05)
    assert 1 == counts(registry)["failure"]


def test_messages_are_judged_by_items_and_the_beginning_is_none(stubs):
    seen = []

    def judge(ending):
        seen.append(ending.result if ending.is_item else type(ending.error).__name__)
        return True if ending.result == b"error" else None

    stub, registry = stubs(failures=FailureRules(judge))
    assert [b"one", b"error"] == list(stub.List(b"one error"))
    assert b"fine" == stub.Get(b"fine")
    assert [b"one", b"error"] == seen
    assert {"failure": 1} == counts(registry, "List")
    stub, registry = stubs(failures=FailureRules(items=lambda message: message == b"error", raise_failures=True))
    stream = stub.List(b"one error two")
    assert b"one" == next(stream)
    with pytest.raises(grpc.RpcError, match="judged failed"):
        next(stream)


def test_one_key_for_all_methods_is_one_command(stubs):
    stub, registry = stubs(key=lambda method: "stock", max_concurrent=5)
    stub.Get(b"fine")
    list(stub.List(b"one two"))
    stub.Sum(iter([b"1"]))
    assert ["stock"] == [handle.key for handle in registry]
    assert 3 == registry["stock"].snapshot().counts["success"]


@pytest.mark.parametrize("settings", [{"timeout": 1.0}, {"retry": Retry()}, {"fallback": lambda: None}, {"retries": 3}, {"hedge": object()}])
def test_what_is_not_for_rpcs_is_refused(settings):
    with pytest.raises(ConfigError):
        GuardInterceptor(**settings)


def test_random_histories_agree_with_a_plain_count_and_leave_no_slot_behind(stubs, server):
    """Every way in which an RPC can end, from many threads."""
    stub, registry = stubs(max_concurrent=64)
    failures, rng, lock = [], random.Random(3), threading.Lock()
    expected = {"success": 0, "failure": 0, "bad_request": 0, "busy": 0}
    outcomes = {b"fine": "success", b"INTERNAL": "failure", b"NOT_FOUND": "bad_request", b"RESOURCE_EXHAUSTED": "busy"}

    def history(words):
        for word, way in words:
            try:
                if way == "drop":
                    stream = stub.List(b"one hang")
                    next(stream)
                    del stream
                    continue
                if way == "list":
                    list(stub.List(b"one " + word))
                elif way == "future":
                    stub.Get.future(word).result()
                else:
                    stub.Get(word)
            except grpc.RpcError:
                pass
            except Exception as error:
                failures.append(error)
            with lock:
                expected[outcomes[word]] += 1

    plans = [[(rng.choice(list(outcomes)), rng.choice(("list", "future", "get", "drop"))) for _ in range(25)]
             for _ in range(8)]
    threads = [threading.Thread(target=history, args=(plan,)) for plan in plans]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [] == failures
    gc.collect()
    handles = [registry["shop.Stock/Get"], registry["shop.Stock/List"]]
    until(lambda: all(handle.snapshot().in_flight == 0 for handle in handles))
    found = {name: sum(handle.snapshot().counts[name] for handle in handles) for name in expected}
    assert expected == found


def test_every_code_of_grpc_has_an_http_status():
    assert {code.name for code in grpc.StatusCode} == set(GRPC)
