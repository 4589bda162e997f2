"""gRPC through a gateway in a process of its own: grpcio on both sides, every kind of call, and how calls end."""

from __future__ import annotations

import concurrent.futures
import queue
import random
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.harness import Gateway, eventually, free_port, running
from tests.integrations.rpc import Server, Stub

grpc = pytest.importorskip("grpc")
pytestmark = pytest.mark.process

CONFIG = """
client_timeout = 1.0
[filters.keys]
use = "api_keys"
keys = [{{ id = "a", consumer = "shop", sha256 = "{sha256}" }}]
[services.up]
endpoints = ["http://{target}"]
http2 = true
idle_timeout = 1.0
command = {{ timeout = 1.0, max_concurrent = 40, breaker = false }}
[services.tripped]
endpoints = ["http://{target}"]
http2 = true
command = {{ breaker = {{ min_calls = 5, failure_rate = 0.5, open_for = 60 }} }}
[services.two]
endpoints = ["http://127.0.0.1:{dead}", "http://{target}"]
http2 = true
[services.gone]
endpoints = ["http://127.0.0.1:{dead}"]
http2 = true
command.breaker = false
[services.limited]
endpoints = ["http://{target}"]
http2 = true
command.rate_limit = {{ calls = 1, per = 1000.0 }}
[services.mortal]
endpoints = ["http://{mortal}"]
http2 = true
command.breaker = false
[services.small]
endpoints = ["http://{target}"]
http2 = true
max_body = 1000
command.breaker = false
[services.telling]
endpoints = ["http://127.0.0.1:{telling}"]
http2 = true
[[routes]]
path = "/a.B/*"
service = "telling"
[[routes]]
path = "/shop.Stock/*"
service = "up"
"""
OTHERS = ("tripped", "two", "gone", "limited", "mortal", "small", "keys")
SERVE = """
import time
from tests.integrations.rpc import Server
server = Server()
print(server.target, flush=True)
time.sleep(60)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def telling() -> Iterator[int]:
    """The port of a server that tells its callers' metadata, and has some of its own."""
    def tell(request: bytes, context: Any) -> bytes:
        context.send_initial_metadata([("x-first", "1"), ("x-first-bin", b"\0\xff")])
        context.set_trailing_metadata([("x-last", "2"), ("x-last-bin", b"\xff\0"), ("x_under", "3")])
        return repr(sorted((each.key, each.value) for each in context.invocation_metadata())).encode()

    made = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
    made.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("a.B", {
        "Tell": grpc.unary_unary_rpc_method_handler(tell)})])
    port = made.add_insecure_port("127.0.0.1:0")
    made.start()
    yield port
    made.stop(None).wait()


@pytest.fixture(scope="module")
def mortal() -> Iterator[subprocess.Popen[str]]:
    """A server in a process of its own, which says its address."""
    with subprocess.Popen([sys.executable, "-c", SERVE], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as made:
        yield made
        made.kill()


@pytest.fixture(scope="module")
def shared(server: Server, telling: int, mortal: subprocess.Popen[str], tmp_path_factory: pytest.TempPathFactory) -> (
        Iterator[Gateway]):
    assert mortal.stdout is not None
    routes = "".join(f'[[routes]]\npath = "/shop.Stock/*"\nheaders = {{ x-to = "{name}" }}\n'
                     + ('service = "up"\nfilters = ["keys"]\n' if name == "keys" else f'service = "{name}"\n') for name in OTHERS)
    config = CONFIG.format(target=server.target, telling=telling, mortal=mortal.stdout.readline().strip(), dead=free_port(),
                           sha256="0" * 64)
    with running(tmp_path_factory.mktemp("grpc"), config + routes) as made:
        yield made


@pytest.fixture
def gateway(shared: Gateway) -> Iterator[Gateway]:
    yield shared
    eventually(lambda: not shared.busy(), "every permit back")


@pytest.fixture
def stub(gateway: Gateway) -> Iterator[Stub]:
    with grpc.insecure_channel(f"127.0.0.1:{gateway.port}") as channel:
        yield Stub(channel)


def failed(call: Callable[[], Any]) -> Any:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value


def to(name: str) -> dict[str, Any]:
    return {"metadata": [("x-to", name)], "timeout": 10.0}


def ended(server: Server, count: int = 1) -> None:
    for _ in range(count):
        assert server.ended.acquire(timeout=10.0)


@pytest.fixture(autouse=True)
def _nothing_ended(server: Server) -> None:
    while server.ended.acquire(blocking=False):
        pass
    while server.hanging.acquire(blocking=False):
        pass


# -- every kind of call


def test_calls_of_all_four_kinds_pass(stub: Stub) -> None:
    large = random.Random(1).randbytes(1_000_000)
    assert [b"hello", large, b""] == [stub.Get(each) for each in (b"hello", large, b"")]
    words = [b"%d" % each for each in range(500)]
    assert words == list(stub.List(b" ".join(words)))
    assert b" ".join(words) == stub.Sum(iter(words))
    assert words == list(stub.Chat(iter(words)))


def test_a_conversation_goes_on_in_both_directions_although_its_answer_has_begun(stub: Stub, gateway: Gateway) -> None:
    said: queue.Queue[bytes | None] = queue.Queue()
    call = stub.Chat(iter(said.get, None), timeout=30.0)
    for word in (b"one", b"two", b"three"):
        said.put(word)
        assert word == next(call)
        assert {"up": 1} == gateway.busy()
    end = time.monotonic() + 1.5  # longer than either side alone may say nothing
    while time.monotonic() < end:
        said.put(b"still")
        assert b"still" == next(call)
        threading.Event().wait(0.2)
    said.put(None)
    assert [] == list(call)


def test_a_conversation_in_which_nobody_says_anything_ends_after_idle_timeout(stub: Stub) -> None:
    said: queue.Queue[bytes | None] = queue.Queue()
    call = stub.Chat(iter(said.get, None))
    said.put(b"one")
    assert b"one" == next(call)
    assert grpc.StatusCode.UNAVAILABLE == failed(lambda: next(call)).code()
    said.put(None)


def test_a_conversation_that_grows_too_long_is_cut_and_that_is_not_the_server_s_failure(
        stub: Stub, server: Server, gateway: Gateway) -> None:
    said: queue.Queue[bytes | None] = queue.Queue()
    call = stub.Chat(iter(said.get, None), **to("small"))
    said.put(b"one")
    assert b"one" == next(call)
    said.put(b"x" * 2000)
    assert failed(lambda: next(call)).code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL)
    said.put(None)
    ended(server)
    eventually(lambda: not gateway.busy(), "every permit back")
    assert 0 == gateway.metric("failure", "small")
    assert grpc.StatusCode.RESOURCE_EXHAUSTED == failed(lambda: stub.Get(b"x" * 2000, **to("small"))).code()


def test_metadata_passes_both_ways(gateway: Gateway) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{gateway.port}") as channel:
        answer, call = channel.unary_unary("/a.B/Tell").with_call(b"", metadata=[("x-a", "1"), ("x-a-bin", b"\0\xff")])
        assert b"('x-a', '1'), ('x-a-bin', b'\\x00\\xff')" in answer
        assert {("x-first", "1"), ("x-first-bin", b"\0\xff")} < {(each.key, each.value) for each in call.initial_metadata()}
        assert {("x-last", "2"), ("x-last-bin", b"\xff\0"), ("x_under", "3")} == {
            (each.key, each.value) for each in call.trailing_metadata()}


# -- how calls end


def test_a_status_of_the_server_s_own_passes(stub: Stub) -> None:
    for name in ("NOT_FOUND", "UNAVAILABLE", "RESOURCE_EXHAUSTED", "DATA_LOSS"):
        error = failed(lambda name=name: stub.Get(name.encode()))
        assert (name, "as asked") == (error.code().name, error.details())
    call = stub.List(b"one two ABORTED")
    assert [b"one", b"two"] == [next(call), next(call)]
    assert grpc.StatusCode.ABORTED == failed(lambda: next(call)).code()


def test_a_deadline_ends_the_call_at_the_server_too(stub: Stub, server: Server) -> None:
    assert grpc.StatusCode.DEADLINE_EXCEEDED == failed(lambda: stub.Get(b"hang", timeout=0.3)).code()
    ended(server)


def test_a_server_that_is_late_is_told_as_a_deadline(stub: Stub, server: Server) -> None:
    error = failed(lambda: stub.Get(b"hang"))
    assert (grpc.StatusCode.DEADLINE_EXCEEDED, "up did not answer in time") == (error.code(), error.details())
    ended(server)


@pytest.mark.parametrize("kind", ["Get", "List", "Sum", "Chat"])
def test_a_cancelled_call_is_cancelled_at_the_server(stub: Stub, server: Server, gateway: Gateway, kind: str) -> None:
    said: queue.Queue[bytes | None] = queue.Queue()
    before = gateway.metric("cancelled")
    if kind == "Get":
        call = stub.Get.future(b"hang")
        assert server.hanging.acquire(timeout=10.0)
    elif kind == "List":
        call = stub.List(b"one hang")
        assert b"one" == next(call)
    elif kind == "Sum":
        call = stub.Sum.future(iter(said.get, None))
        said.put(b"one")
        eventually(lambda: gateway.busy(), "the call")
    else:
        call = stub.Chat(iter(said.get, None))
        said.put(b"one")
        assert b"one" == next(call)
    call.cancel()
    said.put(None)
    ended(server)
    eventually(lambda: gateway.metric("cancelled") == before + 1, "the cancelled call")


def test_a_server_that_is_killed_in_the_middle_is_told_as_unavailable(
        stub: Stub, gateway: Gateway, mortal: subprocess.Popen[str]) -> None:
    streams = [stub.List(b"one hang", **to("mortal")) for _ in range(5)]
    assert [b"one"] * 5 == [next(each) for each in streams]
    waiting = stub.Get.future(b"hang", **to("mortal"))
    eventually(lambda: gateway.busy() == {"mortal": 6}, "six calls")
    mortal.kill()
    for each in (*streams, waiting):
        error = failed(lambda each=each: next(each) if each in streams else each.result())
        assert grpc.StatusCode.UNAVAILABLE == error.code()
    eventually(lambda: not gateway.busy(), "every permit back")
    assert 6 == gateway.metric("failure", "mortal")
    assert grpc.StatusCode.UNAVAILABLE == failed(lambda: stub.Get(b"x", **to("mortal"))).code()


def test_calls_go_on_at_the_other_endpoint_while_one_is_dead(stub: Stub) -> None:
    assert [b"x"] * 20 == [stub.Get(b"x", **to("two")) for _ in range(20)]
    assert [b"a", b"b"] == list(stub.Chat(iter([b"a", b"b"]), **to("two")))


# -- what the gateway itself says, and counts


def test_refusals_of_the_gateway_s_own_are_told_in_grpc(stub: Stub, gateway: Gateway) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{gateway.port}") as channel:
        error = failed(lambda: channel.unary_unary("/no.Such/Method")(b""))
        assert (grpc.StatusCode.UNIMPLEMENTED, "there is no route for this path") == (error.code(), error.details())
    assert grpc.StatusCode.UNAVAILABLE == failed(lambda: stub.Get(b"x", **to("gone"))).code()
    assert grpc.StatusCode.UNAUTHENTICATED == failed(lambda: stub.Get(b"x", **to("keys"))).code()
    assert b"x" == stub.Get(b"x", **to("limited"))
    error = failed(lambda: stub.Get(b"x", **to("limited")))
    assert grpc.StatusCode.RESOURCE_EXHAUSTED == error.code()
    assert int(dict(error.trailing_metadata())["grpc-retry-pushback-ms"]) >= 1000


def test_statuses_of_grpc_count_as_those_of_http_that_they_stand_for(stub: Stub, gateway: Gateway) -> None:
    def counts() -> dict[str, float]:
        found = re.findall(r'^resilience_command_events_total{command="up",event="(success|failure|busy|cancelled)",[^}]*} (.*)$',
                           gateway.admin_get("/metrics"), re.M)
        return {event: float(count) for event, count in found}

    def counted(word: bytes, **how: Any) -> set[str]:
        before = counts()
        failed(lambda: list(stub.List(word, **how)))
        after = eventually(lambda: (now := counts()) != before and now, "the count")
        return {each for each in after if after[each] > before.get(each, 0)}

    for word in (b"UNAVAILABLE", b"INTERNAL", b"UNKNOWN", b"DATA_LOSS", b"DEADLINE_EXCEEDED", b"one UNAVAILABLE"):
        assert {"failure"} == counted(word), word
    for word in (b"RESOURCE_EXHAUSTED", b"pushback", b"one RESOURCE_EXHAUSTED"):
        assert {"busy"} == counted(word), word
    for word in (b"NOT_FOUND", b"UNIMPLEMENTED", b"PERMISSION_DENIED", b"one ABORTED"):
        assert {"success"} == counted(word), word
    assert {"success"} == counted(b"DEADLINE_EXCEEDED", timeout=30.0)  # the caller's own


def test_a_service_that_is_unavailable_opens_its_circuit(stub: Stub, server: Server) -> None:
    for _ in range(5):
        failed(lambda: stub.Get(b"UNAVAILABLE", **to("tripped")))
    calls = len(server.calls)
    error = failed(lambda: stub.Get(b"x", **to("tripped")))
    assert (grpc.StatusCode.UNAVAILABLE, calls) == (error.code(), len(server.calls))


def test_permits_come_back_whatever_is_cancelled_whenever(stub: Stub, gateway: Gateway) -> None:
    chance = random.Random(3)
    calls: list[Any] = []
    for _ in range(150):
        kind = chance.choice(["Get", "List", "Sum", "Chat"])
        words = [b"w" * chance.choice([1, 1000, 70_000]) for _ in range(chance.randrange(1, 4))]
        if kind == "Get":
            calls.append(stub.Get.future(chance.choice([b"x", b"hang", b"ABORTED"])))
        elif kind == "List":
            calls.append(stub.List(b" ".join([*words, chance.choice([b"hang", b"y"])])))
        elif kind == "Sum":
            calls.append(stub.Sum.future(iter(words)))
        else:
            calls.append(stub.Chat(iter([*words, chance.choice([b"hang", b"y"])])))
        if chance.random() < 0.5:
            threading.Event().wait(chance.random() * 0.01)
        if chance.random() < 0.8:
            calls.pop(chance.randrange(len(calls))).cancel()
    for each in calls:
        each.cancel()
    eventually(lambda: not gateway.busy(), "every permit back")
    assert b"x" == stub.Get(b"x")
