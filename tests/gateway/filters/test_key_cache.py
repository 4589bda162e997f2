"""The cache of an issuer's keys against a list of all that has happened, and remote keys under a stampede."""

import asyncio
import random

import pytest

from resilience import Registry
from resilience.gateway.client_addresses import ClientAddresses
from resilience.gateway.filters import FilterHost
from resilience.gateway.filters.asked_url import service_of
from resilience.gateway.filters.key_cache import RETRY_S, Ask, KeyCache
from resilience.gateway.filters.key_set import KeysUnknownError, RemoteKeys
from resilience.gateway.services.service import Service
from resilience.gateway.upstream.http1 import Http1Client
from tests.gateway.filters.tokens import key_set
from tests.gateway.harness import Upstream
from tests.seeds import over_seeds

REFRESH, MIN_INTERVAL, KEEP_FOR = 300.0, 10.0, 1000.0


def expected(history, key_id, now):
    """What to do, by all that has happened: (time, "asked" or "failed" or the keys that were answered)."""
    answers = [(at, what) for at, what in history if isinstance(what, set)]
    asked = [at for at, what in history if what == "asked"]
    outcomes = [what for _, what in history if what != "asked"]
    since = now - asked[-1] if asked else float("inf")
    if not answers or now - answers[-1][0] > KEEP_FOR:
        return Ask.NO if outcomes and outcomes[-1] == "failed" and since < RETRY_S else Ask.WAIT
    at, keys = answers[-1]
    if key_id is not None and key_id not in keys:
        return Ask.WAIT if since >= MIN_INTERVAL else Ask.NO
    return Ask.BEHIND if now - at >= REFRESH and since >= MIN_INTERVAL else Ask.NO


@over_seeds(300)
def test_when_to_ask_depends_on_what_has_happened_alone(seed):
    chance = random.Random(seed)
    cache, history, now = KeyCache(refresh=REFRESH, min_interval=MIN_INTERVAL, keep_for=KEEP_FOR), [], 0.0
    for _ in range(60):
        now += chance.choice([0.0, 0.4, 1.0, 5.0, 10.0, 100.0, 300.0, 900.0])
        key_id = chance.choice([None, "a", "b", "c"])
        ask = cache.ask(key_id, now)
        assert ask is expected(history, key_id, now)
        answers = [(at, what) for at, what in history if isinstance(what, set)]
        known = answers[-1][1] if answers and now - answers[-1][0] <= KEEP_FOR else set()
        assert bool(cache.find(key_id)) == (bool(known) if key_id is None else key_id in known)
        if ask is not Ask.NO:
            cache.asked(now)
            history.append((now, "asked"))
            if chance.random() < 0.4:
                cache.failed()
                history.append((now, "failed"))
            else:
                keys = {each for each in "abc" if chance.random() < 0.6} or {"a"}
                cache.answered({each: (each,) for each in keys}, now)
                history.append((now, keys))


def test_a_new_generation_begins_only_when_the_keys_are_others():
    cache = KeyCache(refresh=1.0, min_interval=1.0, keep_for=None)
    seen = []
    for keys in ({"a": (1,)}, {"a": (1,)}, {"a": (2,)}, {"b": (2,)}):
        cache.answered(keys, 0.0)
        seen.append(cache.generation)
    assert seen == [1, 1, 2, 3]


@pytest.fixture
def issuer():
    made = Upstream()
    yield made
    made.close()


class Remote:
    """Remote keys whose clock is told to the cache."""

    def __init__(self, url, **said):
        self.cache = KeyCache(**{"refresh": REFRESH, "min_interval": MIN_INTERVAL, "keep_for": None, **said})
        self.client, self.registry = Http1Client(), Registry()
        host = FilterHost(name="login", services={}, registry=self.registry, client=self.client, addresses=ClientAddresses(lambda _: False),
                          service=lambda name, config: Service(f"filter.login.{name}", config, self.client, self.registry))
        self.keys = RemoteKeys(url, ("RS256",), self.cache, host, service_of(url, 2.0, None))

    def pass_time(self, seconds):
        self.cache._asked -= seconds
        self.cache._answered -= seconds

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        self.keys.close()
        self.client.close()


def serving(issuer, *names, status="200 OK", body=None, extra=""):
    text = key_set(*names) if body is None else body
    issuer.on("/keys", lambda call: call.send(
        f"HTTP/1.1 {status}\r\nContent-Length: {len(text)}\r\n{extra}\r\n".encode() + text))


async def test_a_thousand_requests_without_keys_ask_the_issuer_once(issuer):
    serving(issuer, "a")
    async with Remote(f"{issuer.url}/keys?x=1") as remote:
        found = await asyncio.gather(*(remote.keys.find("a") for _ in range(1000)))

        assert all(len(keys) == 1 for keys in found)
        assert (remote.keys.fetches, issuer.count("/keys?x=1")) == (1, 1)
        assert remote.registry["filter.login.keys"].snapshot().counts["success"] == 1


async def test_a_new_key_is_fetched_once_for_all_who_wait_and_invented_ones_cost_the_issuer_nothing(issuer):
    serving(issuer, "a")
    async with Remote(f"{issuer.url}/keys") as remote:
        await remote.keys.find("a")
        serving(issuer, "a", "b")
        remote.pass_time(MIN_INTERVAL)

        found = await asyncio.gather(*(remote.keys.find("b") for _ in range(100)))
        assert all(len(keys) == 1 for keys in found)
        found = await asyncio.gather(*(remote.keys.find(f"invented{n}") for n in range(500)))
        assert not any(found)
        assert issuer.count("/keys") == 2


async def test_keys_are_asked_for_again_in_the_background_and_the_last_good_ones_stay(issuer):
    serving(issuer, "a")
    async with Remote(f"{issuer.url}/keys") as remote:
        await remote.keys.find("a")
        for body, status, extra in [(b"broken", "200 OK", ""), (b"{}", "200 OK", ""), (b"", "500 Oops", ""),
                                    (b"", "302 Found", f"Location: {issuer.url}/elsewhere\r\n"), (b" " * 300_000, "200 OK", "")]:
            serving(issuer, body=body, status=status, extra=extra)
            remote.pass_time(REFRESH)
            before = remote.keys.fetches
            remote.keys.look()
            assert len(await remote.keys.find("a")) == 1  # without waiting
            flight = remote.keys._flight
            assert flight is not None
            await flight
            assert len(await remote.keys.find("a")) == 1
            assert remote.keys.fetches == before + 1
        assert issuer.count("/elsewhere") == 0

        serving(issuer, "b")
        remote.pass_time(REFRESH)
        remote.keys.look()
        await remote.keys._flight
        assert not await remote.keys.find("a")  # withdrawn
        assert len(await remote.keys.find("b")) == 1


async def test_without_any_keys_nobody_waits_for_an_issuer_that_has_just_failed():
    async with Remote("http://127.0.0.1:1/keys") as remote:
        for _ in range(5):
            with pytest.raises(KeysUnknownError):
                await remote.keys.find("a")
        assert remote.keys.fetches == 1
        remote.pass_time(RETRY_S)
        with pytest.raises(KeysUnknownError):
            await remote.keys.find("a")
        assert remote.keys.fetches == 2


async def test_who_gives_up_waiting_takes_the_keys_from_nobody(issuer):
    release = asyncio.Event()
    loop = asyncio.get_running_loop()

    def later(call):
        loop.call_soon_threadsafe(arrived.set)
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result(60)
        text = key_set("a")
        call.send(f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\n\r\n".encode() + text)

    arrived = asyncio.Event()
    issuer.on("/keys", later)
    async with Remote(f"{issuer.url}/keys") as remote:
        first, second = (asyncio.ensure_future(remote.keys.find("a")) for _ in range(2))
        await arrived.wait()
        first.cancel()
        await asyncio.wait((first,))
        release.set()
        assert len(await second) == 1
        assert first.cancelled()
