"""Filters that the gateway's file names, in a gateway of its own process, byte for byte."""

import asyncio
import pickle
import socket
import threading

import httpx
import pytest

from resilience import Registry
from resilience.config import ConfigFileError
from resilience.errors import ConfigError
from resilience.gateway import Gateway, endpoint_filter, inbound_filter
from resilience.gateway.config import load
from resilience.gateway.messages.inbound import RequestHead
from tests.gateway.harness import eventually, everything, parsed, problem, running, shared_upstream

SHOP = "tests.gateway.filters.shop_filters"
CONFIG = f"""
client_timeout = 0.5
filters = ["stamp"]
filter_modules = ["tests.gateway.filters.every_route"]
[services.up]
endpoints = ["{{url}}"]
[filters.tag]
use = "{SHOP}:Tag"
value = "blue"
times = 2
[filters.off]
use = "{SHOP}:Tag"
value = "never"
enabled = false
[filters.hangs]
use = "{SHOP}:hangs"
time_limit = 0.01
[filters.hello]
use = "{SHOP}:hello"
[filters.stamp]
use = "{SHOP}:stamp"
[filters.shout]
use = "{SHOP}:shout"
[filters.reverse]
use = "{SHOP}:reverse"
[filters.waits]
use = "{SHOP}:waits"
[[routes]]
path = "/waits"
service = "up"
filters = ["waits"]
[[routes]]
path = "/*"
service = "up"
filters = ["tag", "off", "hangs"]
[[routes]]
path = "/hello/*"
service = "up"
filters = ["hello"]
[[routes]]
path = "/shout/*"
service = "up"
filters = ["shout", "reverse"]
[[routes]]
path = "/plain"
service = "up"
skip_filters = ["stamp", "everywhere"]
"""


upstream = shared_upstream()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, upstream):
    with running(tmp_path_factory.mktemp("filters"), CONFIG.format(url=upstream.url)) as made:
        yield made


def test_filters_of_the_file_run_in_order_and_one_that_is_switched_off_does_not(gateway, upstream):
    status, headers, body = gateway.get("/a", headers="X-Everywhere: forged\r\n")

    call = upstream.called("/a")
    assert (status, body, headers["x-stamp"]) == (200, b"ok", "200 False")
    assert call.header(b"x-tag") == [b"blue", b"blue"]
    assert call.header(b"x-everywhere") == [b"/*"]


def test_the_time_and_the_failures_of_a_filter_are_in_the_statistics(gateway):
    before = gateway.metric("timeout", "filter.hangs")
    gateway.get("/b")

    assert gateway.metric("timeout", "filter.hangs") == before + 1
    assert 'resilience_command_latency_seconds_count{command="filter.hangs"' in gateway.admin_get("/metrics") \
        or 'command="filter.hangs"' in gateway.admin_get("/metrics")


def test_an_endpoint_of_the_file_answers_in_the_place_of_the_service(gateway, upstream):
    assert gateway.get("/hello/you")[2] == b"hello /hello/you"
    assert upstream.count("/hello/you") == 0


def test_a_route_can_leave_out_what_runs_on_every_route(gateway, upstream):
    assert "x-stamp" not in gateway.get("/plain")[1]
    assert upstream.called("/plain").header(b"x-everywhere") == []


def test_bodies_are_taken_in_for_filters_that_need_them_both_ways(gateway, upstream):
    def echo(call):
        body = call.body()
        call.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for index in range(len(body)):
            call.send(b"1\r\n%b\r\n" % body[index : index + 1])
        call.send(b"0\r\n\r\n")

    upstream.on("/shout/echo", echo)
    chunked = b"POST /shout/echo HTTP/1.1\r\nHost: gw\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    status, headers, body = parsed(gateway.raw(chunked))

    assert (status, headers["content-length"], body) == (200, "3", b"CBA")
    assert upstream.called("/shout/echo").header(b"content-length") == [b"3"]

    large = b"POST /shout/large HTTP/1.1\r\nHost: gw\r\nContent-Length: 101\r\n\r\n"
    assert problem(parsed(gateway.raw(large)))["status"] == 413
    assert upstream.count("/shout/large") == 0


def test_a_response_streams_through_filters_that_need_no_body(gateway, upstream):
    go_on = threading.Event()

    def events(call):
        call.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        go_on.wait(60)
        call.send(b"4\r\nlast\r\n0\r\n\r\n")

    upstream.on("/events", events)
    with gateway.connect() as client:
        client.sendall(b"GET /events HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n")
        begun = everything(client, b"first")
        assert b"x-stamp: 200 False" in begun
        go_on.set()
        assert b"last" in everything(client)


def test_a_client_that_leaves_while_a_filter_waits_takes_no_permit_along(gateway, upstream):
    before = gateway.metric("cancelled", "filter.waits")
    with gateway.connect() as client:
        client.sendall(b"GET /waits HTTP/1.1\r\nHost: gw\r\n\r\n")
        upstream.called("/waits")
        eventually(lambda: gateway.busy().keys() >= {"up", "filter.waits"}, "the filter waiting, within the service's permit")

    eventually(lambda: not gateway.busy(), "every permit back")
    assert gateway.metric("cancelled", "filter.waits") == before + 1
    assert gateway.metric("failure", "filter.waits") == gateway.metric("timeout", "filter.waits") == 0


def test_a_client_that_is_slow_with_a_body_is_not_the_failure_of_the_filter_that_needs_it(gateway, upstream):
    reply = gateway.raw(b"POST /shout/slow HTTP/1.1\r\nHost: gw\r\nContent-Length: 10\r\n\r\nhalf")

    assert problem(parsed(reply))["status"] == 408
    assert gateway.metric("failure", "filter.reverse") == gateway.metric("timeout", "filter.reverse") == 0
    assert upstream.count("/shout/slow") == 0


def test_a_response_larger_than_its_filter_takes_passes_as_it_is(gateway, upstream):
    body = b"x" * 5000
    upstream.on("/shout/large-answer", b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + body)

    assert gateway.get("/shout/large-answer")[2] == body


def test_an_upstream_that_breaks_off_in_a_body_that_is_taken_in_is_answered_for(gateway, upstream):
    upstream.on("/shout/broken", b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf")
    before = gateway.metric("failure")
    status, headers, _ = reply = gateway.get("/shout/broken")

    assert (problem(reply)["status"], headers["x-stamp"]) == (502, "502 True")
    assert gateway.metric("failure") == before + 1
    eventually(lambda: not gateway.busy(), "every permit back")


def load_text(tmp_path, text):
    file = tmp_path / "gateway.toml"
    file.write_text(text)
    return load(file)


SERVICE = '[services.up]\nendpoints = ["http://127.0.0.1:1"]\n[[routes]]\npath = "/*"\nservice = "up"\n'


@pytest.mark.parametrize(("text", "key", "words"), [
    ('[filters.a]\nuse = "jvt"', "filters.a.use", "unknown filter"),
    ('[filters.a]\nuse = "no.such:thing"', "filters.a.use", "cannot be found"),
    (f'[filters.a]\nuse = "{SHOP}:plain"', "filters.a.use", "is no filter"),
    (f'[filters.a]\nuse = "{SHOP}:Tag"\nvalue = "x"\ntime = 2', "filters.a.time", "did you mean times?"),
    (f'[filters.a]\nuse = "{SHOP}:Tag"\nvalue = "x"\nordr = 2', "filters.a.ordr", "did you mean order?"),
    (f'[filters.a]\nuse = "{SHOP}:Tag"', "filters.a.value", "is missing"),
    (f'[filters.a]\nuse = "{SHOP}:Tag"\nvalue = 1', "filters.a.value", "must be a string"),
    (f'[filters.a]\nuse = "{SHOP}:hello"\nvalue = 1', "filters.a.value", "unknown setting"),
    (f'[filters.a]\nuse = "{SHOP}:hello"\ntime_limit = 0', "filters.a.time_limit", "above 0"),
    (f'[filters.a]\nuse = "{SHOP}:hello"\nenabled = "no"', "filters.a.enabled", "true or false"),
    ("[filters]\na = 1", "filters.a", "must be a table"),
    ("filters = 1", "filters", "must be a table"),
    ('[gateway]\nfilters = ["a"]', "gateway.filters[0]", "unknown filter 'a'; there is none"),
    (f'[gateway]\nfilters = ["logn"]\n[filters.login]\nuse = "{SHOP}:stamp"', "gateway.filters[0]", "did you mean login?"),
    (f'[gateway]\nfilters = ["hello"]\n[filters.hello]\nuse = "{SHOP}:hello"', "gateway.filters[0]", "is an endpoint"),
    (f'[gateway]\nerror_endpoint = "a"\n[filters.a]\nuse = "{SHOP}:stamp"', "gateway.error_endpoint", "no endpoint"),
    ('[gateway]\nfilter_modules = ["no.such"]', "gateway.filter_modules[0]", "cannot be imported"),
    ('[gateway]\nfilter_modules = ["tests.seeds"]', "gateway.filter_modules[0]", "no filter of its own"),
    ('[gateway]\nfilter_modules = ["tests.gateway.filters.every_route"]\n[filters.everywhere]\n'
     f'use = "{SHOP}:stamp"', "filters.everywhere.use", "rename"),
    ('[gateway]\nfilter_modules = ["tests.gateway.filters.every_route"]\n[filters.everywhere]\nordr = 1',
     "filters.everywhere.ordr", "did you mean order?"),
    (f'[gateway]\nfilter_modules = ["{SHOP}"]', "gateway.filter_modules[0]", "without settings"),
    ('[gateway]\nfilter_modules = ["tests.gateway.filters.every_route", "tests.gateway.filters.every_route"]',
     "gateway.filter_modules[1]", "two filters"),
])
def test_a_mistake_about_filters_names_file_line_key_and_what_is_near(tmp_path, text, key, words):
    with pytest.raises(ConfigFileError) as caught:
        load_text(tmp_path, f"{text}\n{SERVICE}")

    [mistake] = caught.value.mistakes
    assert mistake.key == key
    assert words in mistake.message
    assert mistake.line <= len(text.splitlines())


def test_a_filter_of_a_module_can_be_switched_off_and_given_settings_in_the_file(tmp_path):
    modules = '[gateway]\nfilter_modules = ["tests.gateway.filters.every_route"]\n[filters.everywhere]\n'
    config = load_text(tmp_path, f"{modules}enabled = false\norder = 7\n{SERVICE}")
    [each] = config.filters.values()
    assert (each.enabled, each.order, each.everywhere) == (False, 7, True)
    assert Gateway(config, registry=Registry())._generation.public.admission.admit(
        RequestHead("GET", b"/", b"", "1.1", "http", [(b"host", b"gw")], None, None)).route.filters is None

    tag = f'[gateway]\nfilter_modules = ["{SHOP}"]\n[filters._Tag]\nvalue = "x"\n'
    assert load_text(tmp_path, f"{tag}{SERVICE}").filters["_Tag"].target.value == "x"


def test_an_error_endpoint_answers_for_routes_without_filters_too(tmp_path, upstream):
    errors = f'error_endpoint = "hello"\n[services.up]\nendpoints = ["http://127.0.0.1:1"]\n[filters.hello]\nuse = "{SHOP}:hello"\n'
    with running(tmp_path, errors + '[[routes]]\npath = "/*"\nservice = "up"\n') as gateway:
        assert gateway.get("/down")[2] == b"hello /down"


def test_identity_headers_are_taken_from_clients_as_soon_as_the_table_says_their_names(tmp_path):
    forged = [(b"host", b"gw"), (b"x-user", b"root"), (b"x_user", b"root"), (b"x-consumer", b"root"), (b"x-forwarded-user", b"root")]

    def sent(text, peer="127.0.0.1"):
        app = Gateway(load_text(tmp_path, f"{text}{SERVICE}"), registry=Registry())
        head = RequestHead("GET", b"/", b"", "1.1", "http", forged, (peer, 1), None)
        return [name for name, value in app._generation.public.admission.admit(head).request.headers if value == b"root"]

    assert sent("") == [b"x-user", b"x_user", b"x-consumer"]
    assert sent("[identity]\n") == [b"x-user", b"x_user"]
    assert sent('[identity]\nconsumer = "X-User"\n') == [b"x-consumer"]
    trusted = '[gateway]\ntrusted_proxies = ["127.0.0.1"]\n[identity]\nconsumer = "X-Forwarded-User"\ntenant = false\n'
    assert sent(trusted) == [b"x-user", b"x_user", b"x-consumer"]
    with pytest.raises(ConfigFileError, match="no meaning of its own"):
        sent('[identity]\nconsumer = "Authorization"\n')


def test_routes_name_filters_that_there_are(tmp_path):
    hello = f'use = "{SHOP}:hello"'
    with pytest.raises(ConfigFileError) as caught:
        load_text(tmp_path, f'[filters.a]\n{hello}\n[filters.b]\n{hello}\n{SERVICE}filters = ["a", "b", "c"]\nskip_filters = ["d"]')

    assert sorted((each.key, each.message.partition(";")[0]) for each in caught.value.mistakes) == sorted([
        ("routes[0].filters[2]", "unknown filter 'c'"), ("routes[0].skip_filters[0]", "unknown filter 'd'"),
        ("routes[0].filters", "a route has one endpoint, and a and b are several")])


def test_a_configuration_with_filters_can_be_sent_to_workers(tmp_path, monkeypatch):
    monkeypatch.setenv("SIGNING", "s" * 32)
    text = CONFIG.format(url="http://127.0.0.1:1").replace("\nclient_timeout", "\n[gateway]\nclient_timeout", 1)
    config = load_text(tmp_path, text + '[filters.sign]\nuse = "hmac"\n[[filters.sign.keys]]\nid = "a"\n'
                                        'secret = "env:SIGNING"\nconsumer = "a"\n')

    assert pickle.loads(pickle.dumps(config)) == config


async def test_filters_of_code_run_on_every_route_of_an_embedded_gateway(upstream, tmp_path):
    seen = []

    @inbound_filter
    async def note(context):
        seen.append((context.route, context.service, context.request.scheme))

    @endpoint_filter
    def never(context):
        seen.append("never")

    service = SERVICE.replace("http://127.0.0.1:1", upstream.url)
    config = load_text(tmp_path, service)
    app = Gateway(config, registry=Registry(), filters=[note, never])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://gw") as client:
        assert (await client.get("/embedded?a=%20b")).text == "ok"
    app.close()

    assert seen == [("/*", "up", "https")]
    assert upstream.called("/embedded?a=%20b")
    with pytest.raises(ConfigError, match="two filters"):
        Gateway(config, registry=Registry(), filters=[note, note])
    with pytest.raises(ConfigError, match="no filter"):
        Gateway(config, registry=Registry(), filters=[print])


async def test_a_closed_gateway_leaves_no_task_behind(tmp_path):
    slow = socket.create_server(("127.0.0.1", 0))
    login = f'[filters.login]\nuse = "jwt"\nissuer = false\naudience = false\njwks = "http://127.0.0.1:{slow.getsockname()[1]}/"\n'
    app = Gateway(load_text(tmp_path, f"{login}{SERVICE}filters = ['login']\n"), registry=Registry())
    before = asyncio.all_tasks()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://gw") as client:
        token = "eyJhbGciOiJSUzI1NiJ9.e30.AAAA"
        asking = asyncio.ensure_future(client.get("/x", headers={"Authorization": f"Bearer {token}"}))
        while len(asyncio.all_tasks()) < len(before) + 2:
            await asyncio.sleep(0)
        app.close()
        assert (await asking).status_code == 503
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
    slow.close()
