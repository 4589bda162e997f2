"""A reload that changed anything of an hmac filter forgot which signatures had been used: each could be sent once more.

A longer window made signatures good again that had been used, and forgotten when the shorter one was over.
"""

from __future__ import annotations

import asyncio
import datetime
import random
import time
from typing import Any

import pytest
from http_message_signatures import HTTPMessageSigner, HTTPSignatureKeyResolver
from http_message_signatures.algorithms import HMAC_SHA256

from resilience.config import Document
from resilience.errors import ConfigError
from resilience.gateway import generation as generations
from resilience.gateway.config import GatewayConfig, read
from resilience.gateway.filters.seen_signatures import SignatureMemory
from tests.issues.gateway_parts import OK, asked, served, upstream
from tests.seeds import over_seeds

SECRET = "s" * 32


class Secret(HTTPSignatureKeyResolver):
    def resolve_private_key(self, key_id: str) -> bytes:
        return SECRET.encode()

    resolve_public_key = resolve_private_key


class Sent:
    method, url = "GET", "http://gw/x"

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}


def signed(key_id: str = "a", *, ago_s: float = 0.0) -> bytes:
    """A request, which another signature is made for each time."""
    sent = Sent()
    HTTPMessageSigner(signature_algorithm=HMAC_SHA256, key_resolver=Secret()).sign(
        sent, key_id=key_id, created=datetime.datetime.fromtimestamp(time.time() - ago_s), nonce=random.randbytes(8).hex(),
        covered_component_ids=("@method", "@authority", "@path", "@query"))
    return asked("/x", *(f"{name}: {value}" for name, value in sent.headers.items()))


def configuration(url: str, *, keys: str = "a", name: str = "sig", **said: Any) -> GatewayConfig:
    return read(Document.of({
        "services": {"up": {"endpoints": [url]}}, "routes": [{"path": "/*", "service": "up", "filters": [name]}],
        "filters": {name: {"use": "hmac", "keys": [{"id": key, "secret": "env:SIGNING", "consumer": key} for key in keys], **said}},
    }, "test"))


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNING", SECRET)


def test_no_reload_lets_a_signature_be_used_again() -> None:
    async def main() -> None:
        async with upstream(lambda head, writer: asyncio.sleep(0, writer.write(OK))) as url:
            async with served(configuration(url)) as (gateway, front):
                async def status(request: bytes) -> int:
                    return int((await (await front.client(request)).all()).split(b" ")[1])

                used = [signed(), signed(ago_s=100.0)]
                assert [await status(each) for each in used] == [200, 200]
                for change in ({"window": 200.0}, {"leeway": 9.0}, {"keys": "ab"}, {"max_remembered": 7}, {"keys": "b"}, {},
                               {"optional": True}):
                    gateway.reload(configuration(url, **change))
                    assert {await status(each) for each in used} == {401}, change
                assert await status(signed()) == 200

    asyncio.run(main())


def test_a_reload_that_fails_changes_nothing_of_what_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with upstream(lambda head, writer: asyncio.sleep(0, writer.write(OK))) as url:
            async with served(configuration(url, max_remembered=1)) as (gateway, front):
                async def status(request: bytes) -> int:
                    return int((await (await front.client(request)).all()).split(b" ")[1])

                assert [await status(signed()), await status(signed())] == [200, 503]
                broken = configuration(url, max_remembered=5)
                monkeypatch.setattr(generations, "endpoints", _broken)  # which is made after the filters
                with pytest.raises(ConfigError):
                    gateway.reload(broken)
                monkeypatch.undo()
                monkeypatch.setenv("SIGNING", SECRET)
                assert await status(signed()) == 503
                gateway.reload(configuration(url, max_remembered=2))
                assert [await status(signed()), await status(signed())] == [200, 503]

    asyncio.run(main())


def _broken(*_: Any) -> Any:
    raise ConfigError("no")


@over_seeds(200)
def test_no_history_of_settings_lets_a_signature_be_taken_twice(seed: int) -> None:
    """A window grows and shrinks, and keys come and go; all that was signed is sent while it is good."""
    chance = random.Random(seed)
    memory, taken, now = SignatureMemory(), set[tuple[str, bytes]](), 0.0
    made: list[tuple[float, str, bytes]] = []
    window, leeway = 10.0, 1.0
    memory.configure(window + leeway, 1000, now)
    for step in range(200):
        now += chance.choice([0.0, 0.3, 2.0, 7.0])
        if chance.random() < 0.1:
            window, leeway = chance.choice([1.0, 10.0, 40.0]), chance.choice([0.0, 1.0, 5.0])
            memory.configure(window + leeway, 1000, now)
        if chance.random() < 0.5:
            made.append((now + chance.uniform(-leeway, leeway), chance.choice("ab"), b"%d" % step))
        for created, key, digest in made:
            if created - leeway <= now <= created + window + leeway and chance.random() < 0.3:
                is_taken = memory.take(key, digest, created, now)
                assert not (is_taken and (key, digest) in taken), (key, digest, now)
                if is_taken:
                    taken.add((key, digest))
    assert taken


def test_a_longer_window_takes_nothing_that_a_shorter_one_has_let_be_forgotten() -> None:
    memory = SignatureMemory()
    memory.configure(10.0, 100, 100.0)
    assert memory.take("a", b"one", 100.0, 100.0)
    memory.configure(50.0, 100, 120.0)
    assert memory.take("a", b"one", 100.0, 121.0) is False
    assert memory.take("a", b"two", 109.0, 121.0) is False  # nobody knows whether it was
    assert memory.take("a", b"three", 111.0, 121.0)
