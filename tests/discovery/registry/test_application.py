"""The ASGI application: its lifespan, in which time passes, and requests that do not come as they should."""

import asyncio
import json

import pytest

from resilience.discovery.registry.application import RegistryApplication
from resilience.discovery.registry.moment import Moment
from resilience.discovery.registry.settings import RegistrySettings
from resilience.testing import VirtualTimeLoop
from tests.discovery.registry.plain_registry import EPOCH_MS
from tests.discovery.registry.test_eureka_rest import FULL


def on_virtual_time(main, *, self_preservation=False):
    """Run main(application, loop), on a clock that jumps."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        loop = runner.get_loop()
        application = RegistryApplication(
            RegistrySettings(self_preservation=self_preservation, max_body_bytes=1024),
            clock=lambda: Moment(loop.time(), EPOCH_MS + int(loop.time() * 1000)))
        return runner.run(main(application, loop))


class Client:
    """Sends one request in *pieces*, each after some seconds, and keeps the answer."""

    def __init__(self, *pieces, wait_s=0.0):
        self._pieces, self._wait_s = list(pieces), wait_s
        self.status, self.headers, self.body = 0, {}, b""

    async def receive(self):
        await asyncio.sleep(self._wait_s)
        if not self._pieces:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": self._pieces.pop(0), "more_body": True}

    async def send(self, message):
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], dict(message["headers"])
        else:
            self.body += message["body"]

    async def ask(self, application, method, path, **scope):
        await application({"type": "http", "method": method, "path": path, "query_string": b"", "headers": [],
                           "client": ("10.0.0.1", 1), "server": ("10.0.0.2", 8761), **scope}, self.receive, self.send)
        return self.status


class Whole(Client):
    """Sends all of a body at once."""

    async def receive(self):
        return {"type": "http.request", "body": self._pieces.pop(0) if self._pieces else b"", "more_body": False}


BODY = json.dumps({"instance": FULL}).encode()


def test_while_its_server_lives_leases_run_out_and_are_evicted():
    async def main(application, loop):
        to_do, said = asyncio.Queue(), asyncio.Queue()
        living = asyncio.create_task(application({"type": "lifespan"}, to_do.get, said.put))
        await to_do.put({"type": "lifespan.startup"})
        assert {"type": "lifespan.startup.complete"} == await said.get()
        assert 204 == await Whole(BODY).ask(application, "POST", "/eureka/apps/SHOP")
        began = loop.time()
        while await Whole().ask(application, "GET", "/eureka/apps/SHOP") == 200:
            await asyncio.sleep(1.0)
        await to_do.put({"type": "lifespan.shutdown"})
        assert {"type": "lifespan.shutdown.complete"} == await said.get()
        await living
        assert len(asyncio.all_tasks()) == 1
        return loop.time() - began

    assert 60.0 <= on_virtual_time(main) <= 62.0


def test_that_leases_are_kept_is_logged_once(caplog):
    async def main(application, loop):
        ticking = asyncio.create_task(application.keep_time())
        await Whole(BODY).ask(application, "POST", "/eureka/apps/SHOP")
        await asyncio.sleep(600.0)
        ticking.cancel()
        return application.registry.counts["evictions_prevented"]

    assert 9 == on_virtual_time(main, self_preservation=True)
    assert ["self-preservation: 1 leases have run out and are kept, since too few renewals come"] == caplog.messages


@pytest.mark.parametrize(("client", "status", "reason"), [
    (Client(b"x" * 600, b"x" * 600), 413, "large_body"), (Client(b"{"), 400, "broken_body"),
    (Client(*[b"{"] * 100, wait_s=1.0), 408, "slow_body")])
def test_a_body_that_does_not_come_as_it_should_is_refused_and_its_connection_ends(client, status, reason):
    async def main(application, loop):
        await client.ask(application, "POST", "/eureka/apps/SHOP")
        return application.registry.counts, loop.time()

    counts, _ = on_virtual_time(main)
    assert (status, b"close") == (client.status, client.headers[b"connection"])
    assert {f"refused_{reason}": 1} == counts


def test_it_can_be_mounted_below_a_path():
    async def main(application, loop):
        return (await Whole(BODY).ask(application, "POST", "/discovery/eureka/apps/SHOP", root_path="/discovery"),
                await Whole().ask(application, "GET", "/discovery/", root_path="/discovery"))

    assert (204, 200) == on_virtual_time(main)


def test_an_id_with_a_slash_is_known_by_its_raw_path():
    async def main(application, loop):
        body = json.dumps({"instance": {**FULL, "instanceId": "a/b"}}).encode()
        await Whole(body).ask(application, "POST", "/eureka/apps/SHOP")
        return await Whole().ask(application, "GET", "/eureka/apps/SHOP/a/b", raw_path=b"/eureka/apps/SHOP/a%2Fb")

    assert 200 == on_virtual_time(main)


def test_it_speaks_http_only():
    async def main(application, loop):
        with pytest.raises(RuntimeError, match="HTTP only"):
            await application({"type": "websocket"}, None, None)

    on_virtual_time(main)


def test_a_head_request_has_the_length_and_no_body():
    async def main(application, loop):
        get, head = Whole(), Whole()
        await get.ask(application, "GET", "/eureka/apps")
        await head.ask(application, "HEAD", "/eureka/apps")
        assert get.headers == head.headers
        assert (b"", len(get.body)) == (head.body, int(head.headers[b"content-length"]))

    on_virtual_time(main)
