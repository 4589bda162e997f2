"""What hash balancers and sticky sessions go by: pure, and on the wire."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from resilience.gateway.messages.exchange import Header, Request
from resilience.gateway.services.request_keys import key_reader
from tests.issues.gateway_parts import asked, configured, served, upstream

KINDS = ("header:X-User", "cookie:user", "query:user", "path", "client")


def a_request(target: bytes = b"/a", headers: Sequence[Header] = (), client: bytes | None = None) -> Request:
    return Request(method="GET", target=target, host=None, headers=headers, client=client)


@pytest.mark.parametrize(("by", "request_", "key"), [
    ("header:X-User", a_request(headers=[(b"x-user", b"a"), (b"x-user", b"b")]), b"a"),
    ("header:X-User", a_request(headers=[(b"x-users", b"a")]), None),
    ("cookie:user", a_request(headers=[(b"cookie", b"x=1; user=a=b"), (b"cookie", b"user=c")]), b"a=b"),
    ("cookie:user", a_request(headers=[(b"cookie", b"x=1; userx=a;user")]), None),
    ("cookie:user", a_request(headers=[(b"cookie", b"x=1"), (b"cookie", b'user="c"')]), b"c"),
    ("query:user", a_request(b"/a?x=1&user=b&user=c"), b"b"), ("query:user", a_request(b"/user=b"), None),
    ("query:user", a_request(b"/a?us%65r=b%20c"), b"b c"), ("query:user", a_request(b"/a?user=b+c"), b"b c"),
    ("query:user", a_request(b"/a?user"), b""), ("path", a_request(b"/a/b?user=b"), b"/a/b"),
    ("client", a_request(headers=[(b"x-forwarded-for", b"192.0.2.1")], client=b"192.0.2.2"), b"192.0.2.2"),
    ("client", a_request(headers=[(b"x-forwarded-for", b"192.0.2.1")]), None), (None, a_request(), None)])
def test_the_key_is_what_the_setting_names(by: str | None, request_: Request, key: bytes | None) -> None:
    assert key == key_reader(by, None)(request_)


def test_the_cookie_of_a_sticky_session_decides_alone() -> None:
    request = a_request(headers=[(b"x-user", b"a"), (b"cookie", b"seat=7")])
    assert (b"7", None) == (key_reader("header:X-User", "seat")(request), key_reader("header:X-User", "seat")(a_request()))


def saying(by: str, user: str) -> bytes:
    """A request whose key is the *user*."""
    number = int(user) + 1
    lines = {"header": f"X-User: {user}", "cookie": f"Cookie: user={user}",
             "client": f"X-Forwarded-For: 192.0.2.9, 10.0.0.{number}"}
    target = {"query": f"/x?user={user}", "path": f"/{user}"}
    kind = by.partition(":")[0]
    return asked(target.get(kind, "/x"), *filter(None, [lines.get(kind)]))


@pytest.mark.parametrize("balancer", ["ring_hash", "maglev", "rendezvous"])
@pytest.mark.parametrize("by", KINDS)
def test_one_key_goes_to_one_endpoint_and_many_keys_to_all(by: str, balancer: str) -> None:
    async def main() -> list[bytes]:
        async def script(_: bytes, writer: asyncio.StreamWriter) -> None:
            name = b"%d" % writer.get_extra_info("sockname")[1]
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(name), name))

        async with upstream(script) as one, upstream(script) as two, upstream(script) as three:
            service = {"endpoints": [one, two, three], "balancer": balancer,
                       "balancing": {"hash_by": by, "load_factor": False}}
            async with served(configured(service, gateway={"trusted_proxies": ["127.0.0.1"]})) as (_, front):
                return [(await front.ask(saying(by, f"{user}"))).rpartition(b"\r\n")[2]
                        for user in range(40) for _ in range(2)]

    found = asyncio.run(main())
    assert found[::2] == found[1::2]
    assert 3 == len(set(found))


def test_a_client_does_not_choose_its_endpoint_by_what_it_says_of_itself() -> None:
    async def main() -> set[bytes]:
        async def script(_: bytes, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n%05d" % writer.get_extra_info("sockname")[1])

        async with upstream(script) as one, upstream(script) as two, upstream(script) as three:
            service = {"endpoints": [one, two, three], "balancer": "ring_hash",
                       "balancing": {"hash_by": "client", "load_factor": False}}
            async with served(configured(service, gateway={"trusted_proxies": ["127.0.0.1"]})) as (_, front):
                return {(await front.ask(asked("/x", f"X-Forwarded-For: 10.0.0.{number}, 192.0.2.7")))[-5:]
                        for number in range(20)}

    assert 1 == len(asyncio.run(main()))
