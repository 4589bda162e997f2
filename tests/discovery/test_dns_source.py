"""Addresses and services in DNS, asked of a server on loopback."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import dns.exception
import dns.rcode
import pytest
import pytest_asyncio

from resilience.discovery import DnsSource, Listing
from resilience.discovery.dns_source import nameserver_of
from resilience.discovery.source import MAX_INSTANCES

from .dns_server import DnsServer, dns_server

NAME = "orders.example."


@pytest_asyncio.fixture
async def server() -> AsyncIterator[DnsServer]:
    async with dns_server() as made:
        made.records = {(NAME, "A"): ["127.0.0.2", "127.0.0.3"], (NAME, "AAAA"): ["::1"]}
        yield made


def source(server: DnsServer, name: str = "orders.example.", **said: Any) -> DnsSource:
    return DnsSource(name, **{"port": 8080, **said}, nameservers=[("127.0.0.1", server.port)])


def urls(listing: Listing) -> set[str]:
    return {each.url for each in listing.instances}


async def test_every_address_of_both_families_is_an_instance_for_as_long_as_the_ttl_says(server: DnsServer) -> None:
    listing = await source(server).listing()
    assert {"http://127.0.0.2:8080", "http://127.0.0.3:8080", "http://[::1]:8080"} == urls(listing)
    assert ({("orders.example:8080", 1.0)}, 30.0, ()) == (
        {(each.server_name, each.weight) for each in listing.instances}, listing.ttl_s, listing.mistakes)
    server.records[NAME, "A"] = ["127.0.0.3"]
    server.ttl_s = 4
    listing = await source(server, family="ipv4", scheme="https", port=443).listing()
    assert ({"https://127.0.0.3:443"}, 4.0, "orders.example") == (urls(listing), listing.ttl_s, listing.instances[0].server_name)
    assert {"http://[::1]:8080"} == urls(await source(server, family="ipv6").listing())


async def test_an_alias_is_followed_and_holds_for_no_longer_than_its_own_ttl(server: DnsServer) -> None:
    server.records = {(NAME, "CNAME"): ["other.example."], ("other.example.", "A"): ["127.0.0.9"]}
    listing = await source(server).listing()
    assert ({"http://127.0.0.9:8080"}, 5.0) == (urls(listing), listing.ttl_s)


async def test_srv_records_say_ports_priorities_and_weights_and_every_address_of_a_target_counts(server: DnsServer) -> None:
    server.records = {
        ("_http._tcp.example.", "SRV"): ["10 60 8001 a.example.", "10 0 8002 b.example.", "20 5 80 c.example.", "30 5 1 lost.example.",
                                         "30 5 1 empty.example."],
        ("a.example.", "A"): ["127.0.0.1", "127.0.0.2"], ("b.example.", "A"): ["127.0.0.3"], ("c.example.", "AAAA"): ["::1"],
        ("empty.example.", "TXT"): ["x"]}
    listing = await source(server, "_http._tcp.example", port=None).listing()
    found = {each.url: (each.priority, each.weight, each.server_name) for each in listing.instances}
    assert {"http://127.0.0.1:8001": (0, 30.0, "a.example:8001"), "http://127.0.0.2:8001": (0, 30.0, "a.example:8001"),
            "http://127.0.0.3:8002": (0, 0.1, "b.example:8002"), "http://[::1]:80": (1, 5.0, "c.example")} == found
    assert ["the target empty.example has no address", "the target lost.example has no address"] == sorted(listing.mistakes)
    server.records["_http._tcp.example.", "SRV"] = ["0 0 0 ."]
    assert (set(), ()) == (urls(await source(server, "_http._tcp.example", port=None).listing()), ())
    server.records["_http._tcp.example.", "SRV"] = ["1 0 8001 a.example.", "1 0 8002 b.example."]
    listing = await source(server, "_http._tcp.example", port=None, family="ipv4").listing()
    assert [0.5, 0.5, 1.0] == sorted(each.weight for each in listing.instances)


async def test_an_answer_that_is_cut_short_is_fetched_by_tcp_so_that_every_address_is_there(server: DnsServer) -> None:
    server.records[NAME, "A"] = [f"127.0.{number // 250}.{number % 250 + 1}" for number in range(500)]
    server.is_truncating = True
    assert 501 == len((await source(server).listing()).instances)
    assert 2 == server.by_tcp


async def test_no_address_is_an_empty_list_and_no_such_name_a_failure(server: DnsServer) -> None:
    server.records = {(NAME, "TXT"): ["hello"]}
    assert Listing(()) == await source(server).listing()
    with pytest.raises(dns.exception.DNSException, match="does not exist"):
        await source(server, "nobody.example.").listing()


async def test_an_answer_is_whole_or_none(server: DnsServer) -> None:
    server.rcodes["AAAA"] = dns.rcode.SERVFAIL
    with pytest.raises(dns.exception.DNSException, match="SERVFAIL"):
        await source(server).listing()
    assert 2 == len((await source(server, family="ipv4").listing()).instances)
    server.records = {("_s._tcp.example.", "SRV"): ["1 1 1 a.example."], ("a.example.", "A"): ["127.0.0.1"]}
    with pytest.raises(dns.exception.DNSException, match="SERVFAIL"):
        await source(server, "_s._tcp.example.", port=None).listing()


async def test_the_next_server_is_asked_when_one_is_silent(server: DnsServer) -> None:
    async with dns_server() as silent:
        silent.is_silent = True
        made = DnsSource("orders.example.", port=1, nameservers=[("127.0.0.1", silent.port), ("127.0.0.1", server.port)],
                         timeout_s=0.6)
        assert 3 == len((await made.listing()).instances)
        assert not silent.asked


async def test_servers_that_are_all_silent_are_given_up_and_a_cancelled_listing_leaves_nothing_behind(server: DnsServer) -> None:
    server.is_silent = True
    with pytest.raises(dns.exception.DNSException, match="timed out|lifetime"):
        await source(server, timeout_s=0.1).listing()
    asking = asyncio.ensure_future(source(server).listing())
    await asyncio.sleep(0.01)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert 1 == len(asyncio.all_tasks())


async def test_more_targets_than_a_list_may_have_are_not_asked_for(server: DnsServer) -> None:
    server.records["_s._tcp.example.", "SRV"] = [f"1 1 {number} a.example." for number in range(1, MAX_INSTANCES + 2)]
    with pytest.raises(ValueError, match="more than 1000"):
        await source(server, "_s._tcp.example.", port=None).listing()
    assert {("_s._tcp.example.", "SRV")} == set(server.asked)


@pytest.mark.parametrize(("text", "wanted"), [
    ("10.0.0.2", ("10.0.0.2", 53)), ("10.0.0.2:5353", ("10.0.0.2", 5353)), ("::1", ("::1", 53)), ("[::1]:5353", ("::1", 5353))])
def test_a_dns_server_is_an_address_perhaps_with_a_port(text: str, wanted: tuple[str, int]) -> None:
    assert wanted == nameserver_of(text)


@pytest.mark.parametrize("text", ["", "dns.example", "10.0.0.2:", "10.0.0.2:x", "10.0.0.2:0", "10.0.0.2:70000", "[::1", "::1]:53"])
def test_what_is_no_address_is_no_dns_server(text: str) -> None:
    with pytest.raises(ValueError, match="port|address"):
        nameserver_of(text)


@pytest.mark.parametrize("odd", ["0 1 0 b.example.", r"0 1 81 b\032b.example.", "0 1 81 b*.example."])
async def test_a_target_that_cannot_be_one_is_left_out_and_told_and_those_beside_it_are_listed(server: DnsServer, odd: str) -> None:
    server.records = {("_http._tcp.example.", "SRV"): ["0 1 80 a.example.", odd], ("a.example.", "A"): ["127.0.0.1"],
                      (odd.rsplit(maxsplit=1)[-1], "A"): ["127.0.0.2", "127.0.0.3"]}
    listing = await source(server, "_http._tcp.example.", port=None).listing()
    assert {"http://127.0.0.1:80"} == urls(listing)
    [mistake] = listing.mistakes
    assert "the target b" in mistake


def test_without_dnspython_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dns.asyncresolver", None)
    with pytest.raises(ImportError, match=r"needs dnspython; install it: pip install"):
        DnsSource("a.example")
