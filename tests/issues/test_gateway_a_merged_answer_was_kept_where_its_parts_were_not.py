"""A composition's answer said less about caching than its parts: s-maxage and proxy-revalidate were dropped.

And what one part said for itself (must-revalidate) let shared caches keep the other parts' answers to a request with
credentials (RFC 9111, 3.5). "Kept no longer, and by no more caches, than each of its parts."
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest

from resilience.config import Document
from resilience.gateway.composition.merging import caching
from resilience.gateway.config import read
from resilience.gateway.messages.exchange import Header
from tests.issues.gateway_parts import asked, served, upstream
from tests.seeds import over_seeds

DIRECTIVES = ["public", "private", 'private="x-a"', "no-cache", 'no-cache="set-cookie"', "no-store", "must-revalidate",
              "proxy-revalidate", "must-understand", "immutable", "stale-while-revalidate=60", "stale-if-error=60", "no-transform"]


def part(control: str, *others: Header) -> list[Header]:
    return [(b"cache-control", control.encode()), *others]


def merged(*controls: str, authorized: bool = False) -> bytes:
    return dict(caching([part(each) for each in controls], authorized=authorized))[b"cache-control"]


class Rules:
    """What RFC 9111 lets a cache do with an answer; written apart from what is tested."""

    def __init__(self, headers: Sequence[Header], *, shared: bool, authorized: bool) -> None:
        told: dict[str, str] = {}
        for name, value in headers:
            if name == b"cache-control":
                for each in value.decode().split(", "):
                    key, _, argument = each.partition("=")
                    told.setdefault(key, argument)
        shares = not told.keys().isdisjoint(("public", "must-revalidate", "s-maxage"))
        self.keeps = "no-store" not in told and "max-age" in told and not (
            shared and ("private" in told or (authorized and not shares)))
        age = max([int(value) for name, value in headers if name == b"age"], default=0)
        self.lifetime = int(told["s-maxage" if shared and "s-maxage" in told else "max-age"]) - age if self.keeps else 0
        self.validates = "no-cache" in told
        stale = {"must-revalidate", *(("proxy-revalidate", "s-maxage") if shared else ())}
        self.gives_stale = stale.isdisjoint(told)

    def does_more_than(self, other: Rules) -> bool:
        return self.keeps and (not other.keeps or self.lifetime > max(0, other.lifetime)
                               or self.validates < other.validates or self.gives_stale > other.gives_stale)


@over_seeds(300)
def test_no_cache_does_more_with_the_whole_than_with_any_part(seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(20):
        parts = []
        for _ in range(draw.randrange(1, 4)):
            said = draw.sample(DIRECTIVES, draw.randrange(4)) if draw.random() < 0.8 else []
            said += [f"max-age={draw.choice((0, 5, 60))}"] if draw.random() < 0.95 else []
            said += [f"s-maxage={draw.choice((0, 7, 90))}"] if draw.random() < 0.4 else []
            draw.shuffle(said)
            parts.append(part(", ".join(said), *([(b"age", b"3")] if draw.random() < 0.3 else [])))
        for authorized in (False, True):
            whole = caching(parts, authorized=authorized)
            for shared in (False, True):
                merged = Rules(whole, shared=shared, authorized=authorized)
                assert not any(merged.does_more_than(Rules(each, shared=shared, authorized=authorized))
                               for each in parts), (parts, whole, shared, authorized)


def test_what_the_parts_say_for_shared_caches_is_kept_as_far_as_it_matters() -> None:
    assert merged("max-age=600, s-maxage=0", "max-age=600, must-revalidate") == b"must-revalidate, max-age=600, s-maxage=0"
    assert merged("max-age=60, s-maxage=90", "max-age=60") == b"proxy-revalidate, max-age=60"
    assert merged("max-age=60, s-maxage=90", "max-age=60, private") == b"private, max-age=60"
    assert merged("max-age=60, proxy-revalidate", "max-age=60, public") == b"proxy-revalidate, max-age=60"
    assert merged("max-age=60, s-maxage=30", "max-age=60, s-maxage=40") == b"proxy-revalidate, max-age=60, s-maxage=30"
    assert merged("max-age=60, s-maxage=x") == merged("max-age=60, must-understand") == b"no-store"


def test_the_word_of_one_part_does_not_share_the_answers_of_others_to_a_request_with_credentials() -> None:
    for word in ("must-revalidate", "s-maxage=9", "public"):
        assert merged("max-age=600", f"max-age=600, {word}", authorized=True).startswith(b"private, ")
    assert merged("max-age=9, s-maxage=9", "max-age=9, must-revalidate", authorized=True) == b"must-revalidate, max-age=9"


@pytest.mark.parametrize("header", [
    (b"set-cookie", b"a=1"), (b"cdn-cache-control", b"no-store"), (b"vendor-cdn-cache-control", b"max-age=1"),
    (b"surrogate-control", b"no-store")])
def test_what_shared_caches_would_not_keep_of_a_part_makes_the_whole_private(header: Header) -> None:
    whole = caching([part("max-age=600", header), part("max-age=60, public")])
    assert dict(whole)[b"cache-control"] == b"private, max-age=60"


def test_the_largest_age_that_a_part_states_counts() -> None:
    whole = caching([part("max-age=600, s-maxage=500", (b"age", b"10"), (b"age", b"100"))])
    assert dict(whole)[b"cache-control"] == b"proxy-revalidate, max-age=500, s-maxage=400"


async def test_credentials_of_the_client_are_heeded_on_the_way() -> None:
    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        control = b"max-age=600" if b"/one" in head.partition(b"\r\n")[0] else b"max-age=600, must-revalidate"
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCache-Control: %b\r\n"
                     b"Content-Length: 2\r\n\r\n{}" % control)

    async with upstream(answer) as url:
        config = read(Document.of({
            "services": {"up": {"endpoints": [url]}}, "routes": [{"path": "/*", "compose": "both"}],
            "compositions": {"both": {"parts": {name: {"service": "up", "path": f"/{name}"} for name in ("one", "two")}}},
        }, "test"))
        async with served(config) as (_, front):
            plain, authorized = await front.ask(asked()), await front.ask(asked("/x", "Authorization: Bearer x"))
    assert b"\r\ncache-control: must-revalidate, max-age=600\r\n" in plain
    assert b"\r\ncache-control: private, must-revalidate, max-age=600\r\n" in authorized
