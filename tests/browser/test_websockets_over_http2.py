"""WebSockets of a real page through the gateway's front: Chromium opens them on its HTTP/2 connection (RFC 8441)."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.gateway.harness import DEADLINE_S, eventually, free_port, listens, running

pytestmark = pytest.mark.browser
CONFIG = f"""
[[gateway.tls.certificates]]
certificate_file = "{Path(__file__).parents[1] / "dashboard" / "localhost.pem"}"
[access_log]
to = "%s"
[services.up]
endpoints = ["http://127.0.0.1:%d"]
[[routes]]
path = "/*"
service = "up"
"""
#: Opens a WebSocket, sends messages, and tells all that happens until it is closed.
TALK = """
([path, protocols, size, last]) => new Promise(done => {
  const socket = new WebSocket(`wss://${location.host}${path}`, protocols), heard = [];
  socket.onopen = () => {
    heard.push(["open", socket.protocol, socket.extensions]);
    socket.send(Array.from({length: size}, () => String.fromCharCode(33 + 90 * Math.random())).join(""));
    socket.send(last);
  };
  socket.onmessage = message => {
    heard.push(message.data.length > 10000 ? message.data.length : message.data);
    if (message.data === last) socket.close(4000);
  };
  socket.onclose = event => done([...heard, ["close", event.code, event.wasClean]]);
})
"""


@pytest.fixture(scope="module")
def service() -> Iterator[int]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "hypercorn", "-b", f"127.0.0.1:{port}", "--websocket-ping-interval", "5", "tests.browser.websocket_host:app"],
        cwd=Path(__file__).parents[2], stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: listens(port), "the service listening")
        yield port
    finally:
        process.terminate()
        process.wait(DEADLINE_S)


@contextlib.contextmanager
def page(browser: Browser, base: str) -> Iterator[Any]:
    with browser.new_context(ignore_https_errors=True) as context:
        made = context.new_page()
        made.goto(base)
        yield made


def logged(log: Path) -> list[tuple[str, int]]:
    """Path and status of the WebSockets in the access log."""
    lines = map(json.loads, log.read_text().splitlines()) if log.exists() else ()
    return [(line["path"], line["status"]) for line in lines if (line["method"], line["version"]) == ("GET", "2")
            and line["path"] in ("/talk", "/refused")]


def test_a_page_opens_websockets_on_its_connection_of_http2_and_is_told_how_they_end(
        browser: Browser, service: int, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    with running(tmp_path, CONFIG % (log, service)) as gateway, page(browser, f"https://localhost:{gateway.port}/") as opened:
        (_, protocol, extensions), told, *heard = opened.evaluate(TALK, ["/talk", ["chat", "other"], 1_000_000, "bye"])
        asked = json.loads(told)
        assert ("2 resilience", "13", f"https://localhost:{gateway.port}") == (
            asked["via"], asked["sec-websocket-version"], asked["origin"])
        assert ("chat", "permessage-deflate") == (protocol, extensions.partition(";")[0])
        assert [1_000_000, "bye", ["close", 4000, True]] == heard
        *_, end = opened.evaluate(TALK, ["/talk", [], 10_001, "end"])
        assert ["close", 4001] == end[:2]  # hypercorn does not wait for the answer to its close: it may come too late
        assert [["close", 1006, False]] == opened.evaluate(TALK, ["/refused", [], 1, "bye"])
        assert 200 == opened.evaluate("fetch('/again').then(answer => answer.status)")
        eventually(lambda: [("/refused", 403), ("/talk", 101), ("/talk", 101)] == sorted(logged(log)), "the lines of the access log")
