"""The page's files over ASGI: what is served, how, and what is not."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import resilience_dashboard
from resilience_dashboard import app

from tests.dashboard.asgi_client import request

PAGE = Path(resilience_dashboard.__file__).parent / "page"
ALL_FILES = sorted(f"/{path.relative_to(PAGE).as_posix()}" for path in PAGE.rglob("*") if path.is_file())


@pytest.fixture
def dashboard() -> resilience_dashboard.Dashboard:
    return app(["/resilience.stream", "http://127.0.0.1:9/hystrix.stream"], title="shop")


async def test_the_root_is_the_page(dashboard: resilience_dashboard.Dashboard) -> None:
    answer = await request(dashboard, "/")
    assert answer.status == 200
    assert answer.headers[b"content-type"] == b"text/html; charset=utf-8"
    assert (PAGE / "index.html").read_bytes() == answer.body
    assert answer.headers[b"content-length"] == str(len(answer.body)).encode()


@pytest.mark.parametrize("path", ALL_FILES)
async def test_every_file_is_served_with_its_type_and_the_safety_headers(
    dashboard: resilience_dashboard.Dashboard, path: str
) -> None:
    types = {"html": b"text/html", "css": b"text/css", "js": b"text/javascript", "svg": b"image/svg+xml"}
    answer = await request(dashboard, path)
    assert answer.status == 200
    assert types[path.rpartition(".")[2]] == answer.headers[b"content-type"].split(b";")[0]
    assert answer.headers[b"x-content-type-options"] == b"nosniff"
    assert answer.headers[b"cache-control"] == b"no-cache"
    policy = answer.headers[b"content-security-policy"].decode()
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize(
    "path",
    [
        "/../server.py", "/..%2fserver.py", "/js/../../server.py", "/js/..\\..\\server.py", "//etc/passwd",
        "/etc/passwd", "/js", "/js/", "/.", "/index.html/", "/INDEX.HTML", "/js/main.js\x00", "/__init__.py",
        "/stream/1/../../server.py", "/favicon.ico", "/page/index.html",
    ],
)  # fmt: skip
async def test_no_path_leads_out_of_the_page(dashboard: resilience_dashboard.Dashboard, path: str) -> None:
    assert (await request(dashboard, path)).status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "FOO"])
async def test_only_get_and_head_are_allowed(dashboard: resilience_dashboard.Dashboard, method: str) -> None:
    for path in ("/", "/config.json", "/stream/1"):
        answer = await request(dashboard, path, method=method)
        assert answer.status == 405
        assert answer.headers[b"allow"] == b"GET, HEAD"


async def test_head_answers_like_get_without_the_body(dashboard: resilience_dashboard.Dashboard) -> None:
    for path in ("/", "/js/main.js", "/config.json", "/nowhere"):
        full, head = await request(dashboard, path), await request(dashboard, path, method="HEAD")
        assert (full.status, full.headers, b"") == (head.status, head.headers, head.body)


async def test_a_known_version_is_not_sent_again(dashboard: resilience_dashboard.Dashboard) -> None:
    etag = (await request(dashboard, "/js/main.js")).headers[b"etag"]
    for known in (etag, b"W/" + etag, b'"other", ' + etag, b"*"):
        answer = await request(dashboard, "/js/main.js", headers=[(b"if-none-match", known)])
        assert (answer.status, answer.body) == (304, b"")
    assert (await request(dashboard, "/js/main.js", headers=[(b"if-none-match", b'"other"')])).status == 200


async def test_the_configuration_names_streams_by_number_and_holds_no_password() -> None:
    dashboard = app(
        ["/resilience.stream", "https://joe:s3cret@metrics.example/turbine.stream?cluster=a"],
        stale_after=2.5,
        title='a "shop" <b>',
    )
    answer = await request(dashboard, "/config.json")
    assert answer.headers[b"content-type"] == b"application/json"
    assert answer.headers[b"cache-control"] == b"no-store"
    config = json.loads(answer.body)
    expected = [
        {"url": "/resilience.stream", "label": "/resilience.stream"},
        {"url": "stream/1", "label": "https://metrics.example/turbine.stream?cluster=a"},
    ]
    assert expected == config["streams"]
    assert config["stale_after_ms"] == 2500
    assert config["title"] == 'a "shop" <b>'
    assert b"s3cret" not in answer.body


@pytest.mark.parametrize("left_in", [True, False], ids=["path with mount point", "path without"])
async def test_it_can_be_mounted_below_a_path(dashboard: resilience_dashboard.Dashboard, left_in: bool) -> None:
    prefix = "/admin/watch" if left_in else ""
    for path in ("/", "/js/main.js", "/config.json"):
        assert (await request(dashboard, prefix + path, root_path="/admin/watch")).status == 200
    assert (await request(dashboard, "/admin/watchful/", root_path="/admin/watch")).status == 404


async def test_a_mount_point_without_its_slash_is_sent_on(dashboard: resilience_dashboard.Dashboard) -> None:
    answer = await request(dashboard, "/admin/watch", root_path="/admin/watch")
    assert (answer.status, answer.headers[b"location"]) == (308, b"/admin/watch/")


async def test_lifespan_is_answered(dashboard: resilience_dashboard.Dashboard) -> None:
    said = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    answered: list[str] = []

    async def receive() -> dict[str, str]:
        return next(said)

    async def send(message: dict[str, str]) -> None:
        answered.append(message["type"])

    await dashboard({"type": "lifespan"}, receive, send)
    assert answered == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_the_page_names_no_other_host_and_has_no_inline_code() -> None:
    for path in PAGE.rglob("*"):
        if path.is_file():
            text = path.read_text()
            foreign = re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}", text)
            assert foreign in ([], ["http://www.w3.org"]), path
    html = (PAGE / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)|\son[a-z]+=|\sstyle=|<style", html)
    code = "\n".join(path.read_text() for path in PAGE.rglob("*.js"))
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", code)
