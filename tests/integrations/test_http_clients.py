"""Guarded HTTP clients: the same scenarios with each real client against a real server."""

import gc
import pickle
import random
import socket
import subprocess
import sys
import threading

import aiohttp
import httpx
import httpx2
import pytest

from resilience import (
    CallTimeoutError,
    CircuitBreaker,
    CircuitOpenError,
    ConfigError,
    FailedResultError,
    FailureRules,
    NoTimeLeftError,
    Registry,
    RejectedError,
    Retry,
    RetryBudget,
    Verdict,
    deadline,
    http_status,
)
from resilience.commands.keyed_commands import keyspace_of
from resilience.events import CallRetried
from resilience.integrations import urllib3 as our_urllib3
from tests.integrations.http_clients import (
    CLIENTS,
    Aiohttp,
    AsyncHttpx,
    AsyncHttpx2,
    Httpx,
    Httpx2,
    Urllib3,
    command_of,
    counts_of,
    in_flight,
    serving,
)
from tests.seeds import over_seeds

RETRY = Retry(attempts=3, base=1.0, budget=None)


@pytest.fixture
def server():
    with serving() as server:
        yield server


@pytest.fixture(params=CLIENTS, ids=[client.__name__ for client in CLIENTS])
def make(request, registry):
    """Make a guarded client; it is closed after the test."""
    made = []

    def make(**settings):
        made.append(request.param(**{"registry": registry, "timeout": None, **settings}))
        return made[-1]

    yield make
    for client in made:
        client.finish()


def test_a_request_is_a_call_of_the_command_of_its_host(make, server):
    client = make()

    assert client.request("GET", f"{server.url}/200") == (200, b"helloworld")
    assert client.request("GET", f"{server.url}/200/chunked") == (200, b"helloworld")
    assert client.request("HEAD", f"{server.url}/200") == (200, b"")
    assert command_of(client).key == f"127.0.0.1:{server.server_port}"
    assert counts_of(client) == {"success": 3}


def test_statuses_are_judged_and_the_response_is_the_callers_all_the_same(make, server):
    client = make(breaker=None)

    for status in (200, 404, 429, 503, 500):
        assert client.request("GET", f"{server.url}/{status}") == (status, b"helloworld")

    assert counts_of(client) == {"success": 2, "busy": 1, "failure": 2}


def test_the_users_own_failure_rules_see_the_response(make, server):
    client = make(failures=FailureRules(results=lambda response: response.headers["Content-Length"] == "10"))

    client.request("GET", f"{server.url}/200")
    assert counts_of(client) == {"failure": 1}


def test_each_hop_of_a_redirect_is_a_call(make, server):
    client = make()

    assert client.request("GET", f"{server.url}/302") == (200, b"helloworld")
    assert counts_of(client) == {"success": 2}


def test_a_refusal_is_caught_as_the_clients_own_exception_and_as_ours(make, server):
    client = make(breaker=CircuitBreaker(min_calls=2))
    for _ in range(2):
        client.request("GET", f"{server.url}/503")

    with pytest.raises(client.family) as caught:
        client.request("GET", f"{server.url}/200")

    assert isinstance(caught.value, CircuitOpenError)
    assert caught.value.key == command_of(client).key
    assert caught.value.retry_after == 5.0
    assert "2 of 2 calls failed" in str(caught.value)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert type(copy) is type(caught.value)
    assert (str(copy), copy.retry_after) == (str(caught.value), 5.0)
    with pytest.raises(CircuitOpenError):
        client.request("GET", f"{server.url}/200")
    assert len(server.seen) == 2


def test_a_failed_response_can_be_raised_as_both(make, server):
    client = make(failures=FailureRules(status=http_status(), raise_failures=True))

    with pytest.raises(client.family) as caught:
        client.request("GET", f"{server.url}/503")

    assert isinstance(caught.value, FailedResultError)
    assert in_flight(client) == 0
    assert (caught.value.key, caught.value.verdict) == (command_of(client).key, Verdict.FAILED)
    caught.value.args = (*caught.value.args[:1], 503, *caught.value.args[2:])  # a response holds its connection
    twin = pickle.loads(pickle.dumps(caught.value))
    assert type(twin) is type(caught.value)
    assert (str(twin), twin.result) == (str(caught.value), 503)


def test_a_call_that_begins_too_late_is_refused_in_both_families(make, server, clock):
    client = make()

    with deadline(1.0, clock=clock):
        clock.advance(2.0)
        with pytest.raises(client.family) as caught:
            client.request("GET", f"{server.url}/200")

    assert isinstance(caught.value, NoTimeLeftError)
    assert not server.seen


def test_the_slot_is_held_until_the_body_was_read(make, server):
    client = make()

    response = client.open(f"{server.url}/200/wait")
    assert in_flight(client) == 1
    server.go.set()
    assert client.read(response) == b"helloworld"

    assert in_flight(client) == 0
    assert counts_of(client) == {"success": 1}


def test_the_slot_is_held_until_the_response_is_closed_which_is_no_failure(make, server):
    client = make(max_concurrent=1)

    response = client.open(f"{server.url}/200/wait")
    with pytest.raises(RejectedError):
        client.open(f"{server.url}/200")
    client.close(response)
    client.close(response)

    assert in_flight(client) == 0
    assert counts_of(client) == {"success": 1, "semaphore_rejected": 1}


def has_key_in_use(client):
    gc.collect()
    client.turn()
    return any(cell.is_pinned for cell in keyspace_of(client.guard.resilience).table.values())


@pytest.mark.parametrize("ending", ["read", "closed", "dropped"])
def test_a_key_is_in_use_until_its_response_has_ended_and_no_longer(make, server, ending):
    client = make()

    response = client.open(f"{server.url}/200/wait")
    assert has_key_in_use(client)
    server.go.set()
    if ending == "read" or isinstance(client, Aiohttp):  # which keeps a response until its body has come
        client.read(response)
    elif ending == "closed":
        client.close(response)
    else:
        del response

    assert not has_key_in_use(client)


@pytest.mark.parametrize("path", ["/200/cut", "refused"])
def test_an_error_that_is_kept_keeps_no_key_in_use(make, server, path):
    client = make()
    url = f"{server.url}{path}"
    if path == "refused":
        with serving() as gone:
            url = f"{gone.url}/200"

    with pytest.raises(client.family) as kept:
        client.request("GET", url)

    assert kept.value is not None
    assert counts_of(client) == {"failure": 1}
    assert not has_key_in_use(client)


def test_a_response_that_is_dropped_unclosed_gives_its_slot_back(make, server):
    client = make()

    response = client.open(f"{server.url}/200/wait")
    assert in_flight(client) == 1
    if isinstance(client, Aiohttp):  # which keeps a response, and its connection, until its body has come
        server.go.set()
        assert client.read(response) == b"helloworld"
    del response

    assert in_flight(client) == 0


def test_a_failed_response_that_is_closed_unread_is_a_failure(make, server):
    client = make()

    client.close(client.open(f"{server.url}/503/wait"))

    assert counts_of(client) == {"failure": 1}


@pytest.mark.parametrize("how", ["cut", "chunked-cut", "chunked-bad"])
def test_a_body_that_ends_too_early_or_is_malformed_is_a_failure_of_its_call(make, server, how):
    client = make()

    opened = []
    with pytest.raises(client.family):
        opened.append(client.open(f"{server.url}/200/{how}"))  # raises if it read on and met what is malformed
        client.read(opened[0])
    for response in opened:
        client.close(response)

    assert counts_of(client) == {"failure": 1}
    assert in_flight(client) == 0


def test_a_server_that_is_not_there_is_a_failure_in_the_clients_words(make):
    client = make(retry=RETRY)
    with serving() as server:
        pass

    with pytest.raises(client.family) as caught:
        client.request("GET", f"{server.url}/200")

    assert not isinstance(caught.value, RejectedError)
    assert counts_of(client) == {"failure": 3, "retry": 2}


@pytest.mark.parametrize("kind", [Httpx, Httpx2, AsyncHttpx, AsyncHttpx2])
def test_a_url_that_no_server_could_answer_is_the_callers_fault(kind, registry):
    client = kind(registry=registry, retry=RETRY, breaker=CircuitBreaker(min_calls=1))
    try:
        with pytest.raises(client.theirs.UnsupportedProtocol):
            client.request("GET", "gopher://localhost/")
        assert counts_of(client) == {"bad_request": 1}
    finally:
        client.finish()


def test_an_answer_that_is_no_http_is_a_failure(make):
    client = make()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer():
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"nonsense, and no status line\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(client.family):
            client.request("GET", f"http://127.0.0.1:{listener.getsockname()[1]}/")
        thread.join()

    assert counts_of(client) == {"failure": 1}


def test_what_is_idempotent_is_repeated_and_the_last_response_is_the_callers(make, server, clock):
    client = make(retry=RETRY, breaker=None)

    assert client.request("GET", f"{server.url}/503") == (503, b"helloworld")
    assert client.request("PUT", f"{server.url}/503", content=b"x") == (503, b"helloworld")

    assert [method for method, _, _ in server.seen] == ["GET"] * 3 + ["PUT"] * 3
    assert counts_of(client) == {"failure": 6, "retry": 4}
    assert in_flight(client) == 0


def test_what_is_not_idempotent_is_sent_once_unless_it_has_an_idempotency_key(make, server):
    client = make(retry=RETRY, breaker=None)

    client.request("POST", f"{server.url}/503", content=b"x")
    assert len(server.seen) == 1
    client.request("POST", f"{server.url}/503", content=b"x", headers={"idempotency-key": "1"})

    assert len(server.seen) == 4


def test_a_function_may_say_what_is_idempotent(make, server):
    client = make(retry=RETRY, breaker=None, idempotent=lambda request: request.method == "POST")

    client.request("GET", f"{server.url}/503")
    client.request("POST", f"{server.url}/503", content=b"x")

    assert [method for method, _, _ in server.seen] == ["GET"] + ["POST"] * 3


def test_a_body_that_can_be_read_only_once_is_sent_once(make, server):
    client = make(retry=RETRY, breaker=None)

    async def chunks():
        yield b"x"

    client.request("PUT", f"{server.url}/503", content=chunks() if client.is_async else iter([b"x"]))

    assert len(server.seen) == 1


def test_the_callers_fault_and_a_refusal_are_not_repeated(make, server):
    client = make(retry=RETRY, failures=http_status(caller_fault=(404,)), breaker=CircuitBreaker(min_calls=2))

    client.request("GET", f"{server.url}/404")
    assert len(server.seen) == 1
    with pytest.raises(client.family):
        client.request("GET", f"{server.url}/503")

    assert len(server.seen) == 3, "the circuit opened after the second failure"


def test_a_busy_server_is_asked_again_after_the_delay_for_busy_ones_and_at_their_price(make, server, registry, clock):
    heard, began = [], clock()
    registry.subscribe(CallRetried, heard.append)
    client = make(breaker=None, retry=Retry(attempts=10, jitter="none", base=0.5, busy_base=3.0, busy_price=2.0,
                                            budget=RetryBudget(ratio=0.0, per_second=0.4)))

    assert client.request("GET", f"{server.url}/429") == (429, b"helloworld")

    assert [("busy", 3.0), ("busy", 6.0)] == [(each.event, each.delay) for each in heard]  # for four of four in a window
    assert 9.0 == clock() - began
    clock.advance(60.0)
    client.request("GET", f"{server.url}/503")
    assert {"failure"} == {each.event for each in heard[2:]}
    assert 4 == len(heard[2:])


def test_the_retry_stops_at_its_budget(make, server):
    client = make(retry=Retry(attempts=1000, budget=RetryBudget(ratio=1.0, per_second=0.0)), breaker=None)

    client.request("GET", f"{server.url}/503")

    assert len(server.seen) == 2


def test_the_server_is_told_the_callers_deadline(make, server, clock):
    client = make()

    with deadline(2.0, clock=clock):
        clock.advance(0.5)
        client.request("GET", f"{server.url}/200", headers={"a": "b"})
    client.request("GET", f"{server.url}/200")

    sent = [{name.lower(): value for name, value in headers.items()} for _, _, headers in server.seen]
    assert sent[0][deadline.HEADER.lower()] == "1500"
    assert deadline.HEADER.lower() not in sent[1]


def test_a_key_may_be_a_name_or_a_function_of_the_request(make, server, registry):
    named = make(key="stock")
    named.request("GET", f"{server.url}/200")
    named.turn()
    assert named.guard.resilience.key == "stock"
    assert named.guard.resilience.snapshot().counts["success"] == 1

    by_method = make(key=lambda request, *_: f"stock {request.method}", retry=RETRY)
    by_method.request("POST", f"{server.url}/503")
    by_method.request("GET", f"{server.url}/503")
    assert {handle.key for handle in by_method.guard.resilience} == {"stock GET", "stock POST"}


def test_guards_of_one_registry_share_the_command_of_a_host_and_must_agree(make, server):
    one, other, third = make(max_concurrent=5), make(max_concurrent=5), make(max_concurrent=6)

    one.request("GET", f"{server.url}/200")
    other.request("GET", f"{server.url}/200")
    other.turn()

    assert command_of(one) is command_of(other)
    assert counts_of(one) == {"success": 2}
    with pytest.raises(ConfigError, match="max_concurrent"):
        third.request("GET", f"{server.url}/200")


@pytest.mark.parametrize("setting", ["cache", "fallback", "hedge"])
def test_what_no_exchange_can_have_is_refused_with_a_reason(make, setting):
    with pytest.raises(ConfigError, match=setting):
        make(**{setting: object()})


def test_other_wrong_settings_are_named(make):
    for wrong in ({"retry": 3}, {"idempotent": True}, {"max_conurrent": 3}):
        with pytest.raises(ConfigError):
            make(**wrong)


def test_a_timeout_is_for_asynchronous_clients_and_comes_in_both_families(make, server):
    try:
        client = make(timeout=0.5)
    except ConfigError as error:
        assert "timeout" in str(error)
        return
    assert client.is_async

    if isinstance(client, Aiohttp):  # it reads the body by itself
        client.close(client.open(f"{server.url}/200/wait"))
        return
    response = client.open(f"{server.url}/200/wait")
    with pytest.raises(client.family) as caught:
        client.read(response)

    assert isinstance(caught.value, CallTimeoutError)
    assert caught.value.timeout == 0.5
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert counts_of(client) == {"timeout": 1}
    assert in_flight(client) == 0


@pytest.mark.parametrize("kind", [Httpx, Httpx2, AsyncHttpx, AsyncHttpx2, Urllib3, Aiohttp])
def test_waiting_for_the_clients_own_pool_says_nothing_about_the_server(kind, server, registry):
    client = _with_one_connection(kind, registry)
    # Theirs is one bound for that wait and for connecting, which takes its time: only who shall wait has it.
    impatience = {"timeout": aiohttp.ClientTimeout(connect=0.01)} if kind is Aiohttp else {}
    try:
        response = client.open(f"{server.url}/200/wait")
        with pytest.raises(client.family) as caught:
            client.open(f"{server.url}/200", **impatience)
        assert not isinstance(caught.value, RejectedError)
        server.go.set()
        client.read(response)
        client.close(response)
        assert client.request("GET", f"{server.url}/200") == (200, b"helloworld")

        assert counts_of(client) == {"success": 2, "semaphore_rejected": 1}
        assert command_of(client).state.value == "closed"
    finally:
        client.finish()


def _with_one_connection(kind, registry):
    settings = {"registry": registry, "retry": RETRY, "breaker": CircuitBreaker(min_calls=1)}
    if kind is Urllib3:
        client = kind(**settings)
        client.client = client.guard = our_urllib3.ResiliencePoolManager(guard=settings, maxsize=1, block=True)
        send = client.client.urlopen
        client.client.urlopen = lambda *args, **options: send(*args, pool_timeout=0.01, **options)
        return client
    if kind is Aiohttp:
        client = kind(**settings)

        async def session():
            await client.client.close()
            return aiohttp.ClientSession(middlewares=(client.guard,), connector=aiohttp.TCPConnector(limit=1))

        client.client = client.run(session())
        return client
    theirs = {Httpx: httpx, AsyncHttpx: httpx, Httpx2: httpx2, AsyncHttpx2: httpx2}[kind]
    transport = theirs.AsyncHTTPTransport if kind in (AsyncHttpx, AsyncHttpx2) else theirs.HTTPTransport
    client = kind(inner=transport(limits=theirs.Limits(max_connections=1)), **settings)
    client.client.timeout = theirs.Timeout(30.0, pool=0.01)
    return client


@over_seeds(3)
def test_random_histories_of_exchanges_agree_with_a_plain_oracle(make, server, seed):
    client = make(registry=Registry(), breaker=None, max_concurrent=3)
    if is_early := isinstance(client, Aiohttp):  # it gives the slot back as soon as the body is there, read or not
        client.guard.resilience.configure(max_concurrent=100)
    draw, open_ones, expected = random.Random(seed), [], {}
    server.go.set()

    for _ in range(25):
        if open_ones and draw.random() < 0.5:
            outcome = _ended(client, draw, *open_ones.pop(draw.randrange(len(open_ones))))
        elif len(open_ones) < 3:
            status, how = draw.choice(list(VERDICTS)), draw.choice(["", "/chunked", "/wait", "/cut"])
            open_ones.append((status, how, client.open(f"{server.url}/{status}{how}")))
            continue
        elif is_early:
            continue
        else:
            with pytest.raises(RejectedError):
                client.open(f"{server.url}/200")
            outcome = "semaphore_rejected"
        expected[outcome] = expected.get(outcome, 0) + 1
        if not is_early:
            assert counts_of(client) == expected
            assert command_of(client).snapshot().in_flight == len(open_ones)

    for *_, response in open_ones:
        client.close(response)
    assert in_flight(client) == 0


VERDICTS = {200: "success", 404: "success", 429: "busy", 503: "failure"}


def _ended(client, draw, status, how, response):
    """Close a response, or read it; how its call is to be counted."""
    outcome = VERDICTS[status]
    if draw.random() < 0.3:
        client.close(response)
    elif how == "/cut":
        with pytest.raises(client.family):
            client.read(response)
        client.close(response)
        return "failure" if outcome == "success" else outcome
    else:
        assert client.read(response) == b"helloworld"
    return outcome


def test_the_library_imports_none_of_the_clients():
    script = ("import sys, resilience, resilience.integrations; "
              "sys.exit(bool({'httpx', 'httpx2', 'aiohttp', 'requests', 'urllib3'} & sys.modules.keys()))")
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_an_unused_registry_stays_empty(make):
    registry = Registry()

    make(registry=registry)

    assert list(registry) == []
