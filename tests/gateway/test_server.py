"""The process: signals, taken ports, workers, the admin listener, slow headers."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from resilience import Registry
from resilience.gateway import Gateway as App
from resilience.gateway.config import AdminSettings, GatewayConfig, GatewaySettings
from resilience.gateway.listeners import ServeError, check_free
from resilience.gateway.server import is_known, run

from .harness import Call, Upstream, everything, parsed, running

pytestmark = pytest.mark.process

CONFIG = '\n[services.up]\nendpoints = ["{url}"]\n[[routes]]\npath = "/*"\nservice = "up"\n'


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_status_0_and_lets_requests_finish(
        tmp_path: Path, upstream: Upstream, sign: int) -> None:
    finish, path = threading.Event(), f"/finish-{sign}"

    def slow(call: Call) -> None:
        finish.wait(60)
        call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")

    upstream.on(path, slow)
    with running(tmp_path, CONFIG.format(url=upstream.url)) as gateway:
        with gateway.connect() as client:
            client.sendall(b"GET %b HTTP/1.1\r\nHost: gw\r\n\r\n" % path.encode())
            upstream.called(path)
            gateway.process.send_signal(sign)
            finish.set()
            status, _, body = parsed(everything(client))
        code, err = gateway.ended()
    assert (200, b"done", 0) == (status, body, code), err
    assert "Traceback" not in err


def test_a_taken_port_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        for settings in (GatewayConfig(gateway=GatewaySettings(bind=bind)),
                         GatewayConfig(gateway=GatewaySettings(bind="127.0.0.1:1"), admin=AdminSettings(bind=bind))):
            with pytest.raises(ServeError, match=r"^cannot listen on .*: (Address already in use|Permission denied)$"):
                run(settings, make_admin=lambda registry: App(GatewayConfig(), registry=registry))


def test_a_second_gateway_does_not_share_the_port_of_the_first(tmp_path: Path, upstream: Upstream) -> None:
    with running(tmp_path, CONFIG.format(url=upstream.url)) as gateway:
        with pytest.raises(ServeError, match="Address already in use"):
            check_free(f"127.0.0.1:{gateway.port}")


def test_an_address_of_another_machine_is_one_clear_line() -> None:
    with pytest.raises(ServeError, match="cannot listen on 192.0.2.1:80"):
        check_free("192.0.2.1:80")


def test_the_admin_plane_is_not_on_the_gateways_port(tmp_path: Path, upstream: Upstream) -> None:
    """CVE-2022-22947, CVE-2020-13945: nothing about the gateway is reachable, or changeable, by its clients."""
    upstream.on("/metrics", b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
    with running(tmp_path, CONFIG.format(url=upstream.url)) as gateway:
        assert 404 == gateway.get("/metrics")[0]
        assert "resilience_command_events_total" in gateway.admin_get("/metrics")


def test_slow_heads_are_cut_off_after_seconds_not_minutes() -> None:
    """Slowloris (incident class 8). test_limits.py has it on the wire, in less time."""
    assert GatewaySettings().header_timeout <= 30


def test_importing_the_gateway_needs_no_server() -> None:
    code = "import sys; import resilience.gateway; sys.exit('uvloop' in sys.modules)"
    assert 0 == subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[2]).returncode


async def test_a_gateway_that_cannot_know_whom_it_serves_is_not_served_without() -> None:
    class Broken(App):
        async def known(self) -> None:
            raise RuntimeError("a source is broken")

    with pytest.raises(RuntimeError, match="a source is broken"):
        await is_known(Broken(GatewayConfig(), registry=Registry()), asyncio.Event())
