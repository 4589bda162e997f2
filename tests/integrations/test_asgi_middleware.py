"""The ASGI middleware under Starlette and FastAPI, with their own client."""

import asyncio
import json
import random

import pytest
from fastapi import FastAPI, WebSocket
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from resilience import (
    AdaptiveLimit,
    Bulkhead,
    CallTimeoutError,
    CircuitOpenError,
    ConfigError,
    NoTimeLeftError,
    RateLimitedError,
    Registry,
    bulkhead,
    remaining,
)
from resilience.integrations.asgi import ResilienceMiddleware
from resilience.integrations.request_guard import deadline_of
from tests.seeds import over_seeds

ENVOY = "x-envoy-expected-rq-timeout-ms"
REFUSALS = [(CircuitOpenError("db-7", 6.5), 503, "7"), (RateLimitedError("db-7", 2.0), 429, "2"),
            (CallTimeoutError("db-7", 1.0), 504, None), (ExceptionGroup("both", [CircuitOpenError("db-7")]), 503, None)]


def scope_of(path="/", method="GET", headers=(), kind="http", **more):
    return {"type": kind, "method": method, "path": path, "query_string": b"", "headers": list(headers), **more}


async def receive():
    return {"type": "http.request", "body": b"", "more_body": False}


class Sent(list):
    """The messages that an application has sent."""

    async def __call__(self, message):
        self.append(message)

    @property
    def status(self):
        return self[0]["status"]


async def status_of(app, **scope):
    sent = Sent()
    await app(scope_of(**scope), receive, sent)
    return sent.status


async def hello(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello", "more_body": False})


class Entered:
    """An application whose requests stay inside until they are let go."""

    def __init__(self):
        self.inside = 0
        self.entered = asyncio.Condition()
        self.let_go = asyncio.Event()

    async def __call__(self, scope, receive, send):
        async with self.entered:
            self.inside += 1
            self.entered.notify_all()
        try:
            await self.let_go.wait()
            await hello(scope, receive, send)
        finally:
            self.inside -= 1

    async def until(self, number):
        async with self.entered:
            await self.entered.wait_for(lambda: self.inside == number)


# -- refusals


@pytest.mark.parametrize("show", [False, True])
@pytest.mark.parametrize(("error", "status", "retry_after"), REFUSALS, ids=repr)
@pytest.mark.parametrize("flavour", ["async", "sync"])
def test_a_refusal_of_an_endpoint_is_answered_with_its_status_and_names_no_command_unless_told(
        flavour, error, status, retry_after, show, registry):
    app = FastAPI()
    app.add_middleware(ResilienceMiddleware, show_command=show, registry=registry)
    if flavour == "async":
        @app.get("/")
        async def endpoint():
            raise error
    else:
        @app.get("/")
        def endpoint():
            raise error

    with TestClient(app) as client:
        answer = client.get("/")

    assert (answer.status_code, answer.headers.get("retry-after")) == (status, retry_after)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status
    assert answer.json().get("command") == ("db-7" if show else None)
    assert show or "db-7" not in answer.text


def test_a_real_refusal_of_a_guarded_function_is_answered(registry):
    @bulkhead(1, key="stock", registry=registry)
    async def stock(again):
        return await stock(again=False) if again else 7

    async def endpoint(request):
        return PlainTextResponse(str(await stock(again=True)))

    app = Starlette(routes=[Route("/", endpoint)])
    app.add_middleware(ResilienceMiddleware, registry=registry)
    with TestClient(app) as client:
        assert client.get("/").json()["detail"] == "The service has too many requests under way"


@pytest.mark.parametrize("error", [RuntimeError("own"), ExceptionGroup("mixed", [CircuitOpenError("k"), RuntimeError("own")])], ids=repr)
async def test_every_other_exception_is_left_to_the_application_as_it_was_raised(error, registry):
    async def app(scope, receive, send):
        raise error

    sent = Sent()
    with pytest.raises(type(error)) as caught:
        await ResilienceMiddleware(app, registry=registry)(scope_of(), receive, sent)
    assert caught.value is error
    assert [] == sent


async def test_a_refusal_after_the_response_has_begun_is_raised_again(registry):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise CircuitOpenError("k")

    sent = Sent()
    with pytest.raises(CircuitOpenError):
        await ResilienceMiddleware(app, registry=registry)(scope_of(), receive, sent)
    assert [200] == [message["status"] for message in sent]


async def test_an_early_hint_does_not_begin_the_response(registry):
    async def app(scope, receive, send):
        await send({"type": "http.response.early_hint", "links": []})
        raise CircuitOpenError("k")

    sent = Sent()
    await ResilienceMiddleware(app, registry=registry)(scope_of(), receive, sent)
    assert sent[1]["status"] == 503


def test_the_answer_to_head_has_the_headers_and_no_body(registry):
    async def endpoint(request):
        raise CircuitOpenError("k", 3.0)

    app = Starlette(routes=[Route("/", endpoint)])
    app.add_middleware(ResilienceMiddleware, registry=registry)
    with TestClient(app) as client:
        got, head = client.get("/"), client.head("/")
    assert b"" == head.content != got.content
    assert head.headers["content-length"] == got.headers["content-length"] == str(len(got.content))


def test_the_lifespan_passes_untouched(registry):
    seen = []

    async def lifespan(scope, receive, send):
        seen.append(scope["type"])
        raise CircuitOpenError("the database is down")

    with pytest.raises(CircuitOpenError), TestClient(ResilienceMiddleware(lifespan, registry=registry, limit=Bulkhead(1))):
        pass
    assert ["lifespan"] == seen


# -- deadlines


@pytest.mark.parametrize(("headers", "left"), [
    ({}, 5.0), ({ENVOY: "250"}, 0.25), ({ENVOY: "60000"}, 5.0), ({ENVOY: "0"}, 0.0), ({ENVOY: "soon"}, 5.0), ({ENVOY: "-1"}, 5.0),
    ({"grpc-timeout": "100m"}, 0.1), ({"grpc-timeout": "1H"}, 5.0), ({"grpc-timeout": "1s"}, 5.0), ({"grpc-timeout": "123456789n"}, 5.0),
    ({"grpc-timeout": "2S", ENVOY: "1000"}, 1.0), ({"grpc-timeout": "1S", ENVOY: "2000"}, 1.0)], ids=str)
@pytest.mark.parametrize("flavour", ["async", "sync"])
def test_a_header_shortens_the_deadline_and_never_extends_it(flavour, headers, left, registry):
    app, seen = FastAPI(), []
    app.add_middleware(ResilienceMiddleware, deadline=5.0, registry=registry)
    if flavour == "async":
        @app.get("/")
        async def endpoint():
            seen.append(remaining())
    else:
        @app.get("/")
        def endpoint():
            seen.append(remaining())

    with TestClient(app) as client:
        assert client.get("/", headers=headers).status_code == 200
    assert [pytest.approx(left)] == seen
    assert remaining() is None


async def test_without_a_header_and_a_limit_there_is_no_deadline(registry):
    seen = []

    async def app(scope, receive, send):
        seen.append(remaining())
        await hello(scope, receive, send)

    guarded = ResilienceMiddleware(app, registry=registry)
    await guarded(scope_of(), receive, Sent())
    await guarded(scope_of(headers=[(ENVOY.encode(), b"500")]), receive, Sent())
    assert [None, pytest.approx(0.5)] == seen


@over_seeds(300)
def test_the_deadline_is_the_least_that_is_well_formed(seed):
    rng = random.Random(seed)
    units = {"H": 3600, "M": 60, "S": 1, "m": 1e-3, "u": 1e-6, "n": 1e-9}
    limits = []

    def of_envoy():
        if rng.random() < 0.5:
            return rng.choice(["", "x", "1.5", "-3", "12345678901", "١", "1e3", "5 5", "+5"])
        number = rng.randint(0, 10**rng.randint(1, 10) - 1)
        limits.append(number / 1000)
        return f"{rng.choice(['', ' '])}{number}"

    def of_grpc():
        if rng.random() < 0.5:
            return rng.choice(["", "5", "S", "5s", "5 S", "-5S", "1.5S", "123456789S", "٣S", "5SS"])
        number, unit = rng.randint(0, 10**rng.randint(1, 8) - 1), rng.choice(list(units))
        limits.append(number * units[unit])
        return f"{number}{unit}"

    envoy, grpc = (of_envoy() if rng.random() < 0.7 else None), (of_grpc() if rng.random() < 0.7 else None)
    most = rng.choice([None, 0.001, 1.0, 600.0])
    end = deadline_of(envoy, grpc, most, lambda: 0.0)

    limits += [most] if most is not None else []
    assert (None if end is None else end.seconds) == (pytest.approx(min(86_400.0, *limits)) if limits else None)


@pytest.mark.parametrize("settings", [{"deadline": 0}, {"deadline": -1.0}, {"deadline": "5"}, {"deadline": 1e9}, {"limit": 100}])
def test_a_setting_that_makes_no_sense_is_refused_and_named(settings, registry):
    with pytest.raises(ConfigError) as caught:
        ResilienceMiddleware(hello, registry=registry, **settings)
    assert caught.value.option in (*settings, "seconds")


# -- the limit


async def test_the_limit_bounds_the_requests_inside_and_its_command_counts_them(registry):
    inner = Entered()
    app = ResilienceMiddleware(inner, limit=Bulkhead(2), registry=registry)
    async with asyncio.TaskGroup() as group:
        inside = [group.create_task(status_of(app)) for _ in range(2)]
        await inner.until(2)
        assert [503, 503, 503] == [await status_of(app) for _ in range(3)]
        assert registry["requests"].in_flight == 2
        inner.let_go.set()
    assert [200, 200] == [task.result() for task in inside]
    snapshot = registry["requests"].snapshot()
    assert (snapshot.in_flight, snapshot.counts["success"], snapshot.counts["semaphore_rejected"]) == (0, 2, 3)


async def test_a_more_important_request_passes_where_a_less_important_one_is_refused(registry):
    def importance(scope):
        return 0 if scope["path"] == "/pay" else 5

    inner = Entered()
    app = ResilienceMiddleware(inner, registry=registry, limit_key="shop", limit=AdaptiveLimit(
        initial=10, priorities=importance, reserved=0.5))
    async with asyncio.TaskGroup() as group:
        for number in range(1, 6):
            group.create_task(status_of(app, path="/pay"))
            await inner.until(number)
        assert 503 == await status_of(app, path="/browse")
        group.create_task(status_of(app, path="/pay"))
        await inner.until(6)
        inner.let_go.set()
    assert registry["shop"].snapshot().counts["semaphore_rejected"] == 1


async def test_an_exempt_request_passes_beside_a_full_limit(registry):
    inner = Entered()
    app = ResilienceMiddleware(inner, limit=Bulkhead(1), exempt=lambda scope: scope["path"] == "/health", registry=registry)
    async with asyncio.TaskGroup() as group:
        group.create_task(status_of(app))
        await inner.until(1)
        healthy = group.create_task(status_of(app, path="/health"))
        await inner.until(2)
        assert registry["requests"].in_flight == 1
        inner.let_go.set()
    assert healthy.result() == 200


async def test_two_applications_with_the_same_limit_share_its_slots(registry):
    limit = AdaptiveLimit(initial=1, min_limit=1, max_limit=1, priorities=len)
    inner = Entered()
    one, other = (ResilienceMiddleware(inner, limit=limit, registry=registry) for _ in range(2))
    async with asyncio.TaskGroup() as group:
        group.create_task(status_of(one))
        await inner.until(1)
        assert 503 == await status_of(other)
        inner.let_go.set()
    with pytest.raises(ConfigError, match="'requests'"):
        ResilienceMiddleware(inner, limit=AdaptiveLimit(initial=2, priorities=len), registry=registry)


async def test_a_request_without_time_left_is_refused_by_the_limit(registry):
    app = ResilienceMiddleware(hello, limit=Bulkhead(1), registry=registry)
    assert 504 == await status_of(app, headers=[(ENVOY.encode(), b"0")])
    assert registry["requests"].snapshot().counts["no_time_left"] == 1


async def test_a_client_that_leaves_gives_the_slot_back(registry):
    inner = Entered()
    app = ResilienceMiddleware(inner, limit=Bulkhead(1), registry=registry)
    task = asyncio.create_task(status_of(app))
    await inner.until(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    snapshot = registry["requests"].snapshot()
    assert (snapshot.in_flight, snapshot.counts["cancelled"]) == (0, 1)


async def test_a_stream_holds_its_slot_until_the_last_piece_is_sent(registry):
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def pieces():
        yield b"first"
        begun.set()
        await go_on.wait()
        yield b"last"

    async def endpoint(request):
        return StreamingResponse(pieces())

    app = ResilienceMiddleware(Starlette(routes=[Route("/", endpoint)]), limit=Bulkhead(1), registry=registry)

    async def wait_for_disconnect():
        await asyncio.Event().wait()

    task, sent = None, Sent()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(app(scope_of(asgi={"spec_version": "2.4"}), wait_for_disconnect, sent))
        await begun.wait()
        assert (registry["requests"].in_flight, task.done()) == (1, False)
        go_on.set()
    assert registry["requests"].in_flight == 0
    assert b"firstlast" == b"".join(message["body"] for message in sent[1:])


@over_seeds(40)
async def test_whatever_becomes_of_requests_the_limit_bounds_them_and_all_slots_come_back(seed):
    rng, registry = random.Random(seed), Registry()
    limit = rng.randint(1, 5)
    inside = most = 0

    async def app(scope, receive, send):
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        try:
            for _ in range(rng.randint(0, 4)):
                await asyncio.sleep(0)
            end = scope["end"]
            if end == "refuse":
                raise CircuitOpenError("k")
            if end == "fail":
                raise LookupError
            await send({"type": "http.response.start", "status": 200, "headers": []})
            if end == "break off":
                raise NoTimeLeftError("k")
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            inside -= 1

    guarded = ResilienceMiddleware(app, limit=Bulkhead(limit, max_wait=rng.choice([0.0, 60.0])), registry=registry)
    ends = ["answer", "refuse", "fail", "break off"]
    tasks, told = [], []
    for _ in range(30):
        end, sent = rng.choice(ends), Sent()
        told.append((end, sent))
        tasks.append(asyncio.create_task(guarded(scope_of(end=end), receive, sent)))
        if rng.random() < 0.3:
            rng.choice(tasks).cancel()
        for _ in range(rng.randint(0, 2)):
            await asyncio.sleep(0)
    results = await asyncio.gather(*tasks, return_exceptions=True)

    assert (inside, registry["requests"].in_flight) == (0, 0)
    assert most <= limit
    for (end, sent), result in zip(told, results, strict=True):
        if isinstance(result, asyncio.CancelledError):
            continue
        by_the_limit = bool(sent) and sent.status == 503 and result is None and end != "refuse"
        expected = {"answer": (200, None), "refuse": (503, None), "fail": (None, LookupError), "break off": (200, NoTimeLeftError)}
        status, error = (503, None) if by_the_limit else expected[end]
        assert (sent.status if sent else None, None if result is None else type(result)) == (status, error)


# -- WebSockets


def test_a_refusal_before_a_websocket_is_accepted_is_answered_where_the_server_can(registry):
    app = FastAPI()
    app.add_middleware(ResilienceMiddleware, limit=Bulkhead(1), deadline=1.0, registry=registry)
    seen = []

    @app.websocket("/closed")
    async def closed(socket: WebSocket):
        raise CircuitOpenError("db-7", 2.0)

    @app.websocket("/open")
    async def opened(socket: WebSocket):
        seen.append((remaining(), registry["requests"].in_flight))
        await socket.accept()
        await socket.send_text("hello")
        raise CircuitOpenError("db-7", 2.0)

    with TestClient(app) as client:
        with pytest.raises(WebSocketDenialResponse) as denied, client.websocket_connect("/closed"):
            pass
        with pytest.raises(CircuitOpenError), client.websocket_connect("/open") as session:
            assert session.receive_text() == "hello"
            session.receive_text()
    assert (denied.value.status_code, denied.value.headers["retry-after"]) == (503, "2")
    assert json.loads(denied.value.content)["status"] == 503
    assert [(None, 0)] == seen


async def test_a_server_without_that_extension_is_told_to_close(registry):
    async def app(scope, receive, send):
        raise CircuitOpenError("k")

    sent = Sent()
    await ResilienceMiddleware(app, registry=registry)(scope_of(kind="websocket"), receive, sent)
    assert [{"type": "websocket.close", "code": 1013, "reason": "Service Unavailable"}] == sent
    assert WebSocketDisconnect(1013).code == sent[0]["code"]
