"""Endpoints of a service in Kubernetes: conditions, ports, families, pages, tokens, and what an API server may answer."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from resilience import ConfigError
from resilience.discovery import Instance, KubernetesSource
from resilience.discovery.endpoint_slices import SlicePage, UnreadableSliceError, listing_of
from resilience.discovery.http_client import HttpClientError
from resilience.discovery.kubernetes_source import KubernetesAnswerError
from tests.seeds import over_seeds

from .kubernetes import ApiServer, endpoint, endpoint_slice
from .test_http_client import LOCALHOST, answering


def listed(*slices: Any, **said: Any) -> list[str]:
    listing = listing_of(slices, **{"port": None, "scheme": "http", "family": "both", "server_name": "", **said})
    assert () == listing.mistakes
    return sorted(each.url.removeprefix("http://") for each in listing.instances)


@contextmanager
def api_server(api: ApiServer, tls: bool = False) -> Iterator[str]:
    """The server's URL."""
    def answer(client: socket.socket) -> None:
        client.sendall(api.respond(heads[-1]))

    with answering(answer, LOCALHOST if tls else None) as (port, heads):
        yield f"{'https' if tls else 'http'}://localhost:{port}"


def source(url: str, token_file: Path, **said: Any) -> KubernetesSource:
    return KubernetesSource("orders", **{"namespace": "shop", "api": url, "token_file": f"{token_file}", "timeout_s": 60.0, **said})


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("a-token\n")
    return path


@pytest.mark.parametrize(("conditions", "is_used"), [
    ({"ready": True, "serving": True, "terminating": False}, True), ({"ready": True}, True), ({"ready": None}, True),
    ({"ready": False, "serving": False, "terminating": False}, False), ({"ready": False}, False),
    ({"ready": False, "serving": True, "terminating": True}, False), ({"ready": True, "serving": True, "terminating": True}, False)])
def test_what_is_ready_and_does_not_terminate_is_used(conditions: dict[str, Any], is_used: bool) -> None:
    found = listed(endpoint_slice("a", endpoint("10.0.0.1"), endpoint("10.0.0.2", **conditions)))
    assert ["10.0.0.1:8080", *(["10.0.0.2:8080"] if is_used else [])] == found


def test_endpoints_that_terminate_and_serve_are_used_if_there_are_no_others() -> None:
    found = listed(endpoint_slice("a", endpoint("10.0.0.1", ready=False, serving=True, terminating=True),
                                  endpoint("10.0.0.2", ready=False, serving=False, terminating=True), endpoint("10.0.0.3", ready=False)))
    assert ["10.0.0.1:8080"] == found


def test_an_endpoint_in_two_slices_counts_once_and_is_ready_if_one_says_so() -> None:
    assert ["10.0.0.1:8080", "10.0.0.2:8080"] == listed(
        endpoint_slice("a", endpoint("10.0.0.1", uid="1"), endpoint("10.0.0.2", uid="2", ready=False)),
        endpoint_slice("b", endpoint("10.0.0.1", uid="1", ready=False), endpoint("10.0.0.2", uid="2")))


def test_a_pod_with_two_addresses_is_one_endpoint_and_one_family_may_be_asked_for() -> None:
    slices = (endpoint_slice("six", endpoint("2001:db8::1", uid="1"), endpoint("2001:db8::2", uid="2"), kind="IPv6"),
              endpoint_slice("four", endpoint("10.0.0.1", uid="1")), endpoint_slice("name", endpoint("a.example"), kind="FQDN"))
    assert ["10.0.0.1:8080", "[2001:db8::2]:8080"] == listed(*slices)
    assert ["10.0.0.1:8080"] == listed(*slices, family="ipv4")
    assert ["[2001:db8::1]:8080", "[2001:db8::2]:8080"] == listed(*slices, family="ipv6")


def test_a_port_is_found_by_its_name_or_its_number_and_must_be_said_if_there_are_several() -> None:
    several = endpoint_slice("a", endpoint("10.0.0.1"), ports=[("http", 8080), ("admin", 9090)])
    assert ["10.0.0.1:9090"] == listed(several, port="admin")
    assert ["10.0.0.1:8080"] == listed(several, port=8080)
    assert [] == listed(several, port="other") == listed(several, port=1)
    listing = listing_of([several, endpoint_slice("b", endpoint("10.0.0.2"))], port=None, scheme="http", family="both", server_name="")
    assert ["http://10.0.0.2:8080"] == [each.url for each in listing.instances]
    assert ("a: there are several ports, so say which: 'admin', 'http'",) == listing.mistakes
    assert ["10.0.0.1:7070"] == listed(endpoint_slice("a", endpoint("10.0.0.1"), ports=[("http", 7070)]),
                                       endpoint_slice("b", endpoint("10.0.0.2"), ports=[]), port="http")
    udp = {**several, "ports": [{"name": "http", "port": 1, "protocol": "UDP"}, {"name": "http", "port": 2}]}
    assert ["10.0.0.1:2"] == listed(udp)


def test_zones_schemes_and_names_are_those_of_the_slice_and_the_settings() -> None:
    listing = listing_of([endpoint_slice("a", endpoint("10.0.0.1", zone="eu-1a"))], port=None, scheme="https", family="both",
                         server_name="orders.shop")
    assert (Instance(url="https://10.0.0.1:8080", zone="eu-1a", server_name="orders.shop"),) == listing.instances


@pytest.mark.parametrize("bad", [
    {"endpoints": [{"addresses": []}]}, {"endpoints": [{}]}, {"endpoints": [7]}, {"endpoints": [endpoint("10.0.0.1/x?y")]},
    {"ports": [{"port": "x"}]}, {"ports": [7]}, {"endpoints": [endpoint("10.0.0.1", zone="z" * 300)]},
    {"endpoints": [{"addresses": ["10.0.0.9"], "conditions": 7}]}, {"endpoints": [{"addresses": ["10.0.0.9"], "targetRef": 7}]}])
def test_what_cannot_be_read_is_told_of_and_the_others_count(bad: dict[str, Any]) -> None:
    listing = listing_of([{**endpoint_slice("bad"), **bad}, endpoint_slice("good", endpoint("10.0.0.2"))], port=None, scheme="http",
                         family="both", server_name="")
    if "endpoints" not in bad:
        listing = listing_of([{**endpoint_slice("bad", endpoint("10.0.0.1")), **bad}, endpoint_slice("good", endpoint("10.0.0.2"))],
                             port=None, scheme="http", family="both", server_name="")
    assert (["http://10.0.0.2:8080"], 1) == ([each.url for each in listing.instances], len(listing.mistakes))
    assert listing.mistakes[0].startswith("bad: ")


@over_seeds(100)
def test_slices_in_any_order_and_cut_in_any_way_give_what_a_plain_oracle_says(seed: int) -> None:
    rng = random.Random(seed)
    states = [{"ready": True, "serving": True, "terminating": False}, {"ready": False, "serving": True, "terminating": True},
              {"ready": False, "serving": False, "terminating": False}]
    said = [(f"10.0.0.{rng.randrange(8)}", rng.choice(states[rng.random() < 0.3:])) for _ in range(rng.randrange(12))]
    slices = [endpoint_slice(f"s{number}", *(endpoint(address, **state) for index, (address, state) in enumerate(said)
                                             if index % 3 == number)) for number in range(3)]
    rng.shuffle(slices)
    ready = {address for address, state in said if state["ready"]}
    draining = {address for address, state in said if state["terminating"] and state["serving"]}
    assert sorted(f"{each}:8080" for each in (ready or draining)) == listed(*slices)


@pytest.mark.parametrize("tls", [False, True])
async def test_all_pages_are_asked_for_with_the_label_and_the_token_as_it_is_now(token_file: Path, tls: bool) -> None:
    api = ApiServer(*(endpoint_slice(f"s{number}", endpoint(f"10.0.0.{number}")) for number in range(5)))
    with api_server(api, tls) as url:
        mine = source(url, token_file, ca_file=f"{LOCALHOST}" if tls else None)
        assert {f"http://10.0.0.{number}:8080" for number in range(5)} == {each.url for each in (await mine.listing()).instances}
        assert [True, False, False] == ["continue" not in each for each in api.asked]
        assert {"100"} == {each["limit"] for each in api.asked}
        token_file.write_text("another-token")
        with pytest.raises(KubernetesAnswerError, match="401: the token is not valid"):
            await mine.listing()
        api.token = "another-token"
        api.slices = []
        assert () == (await mine.listing()).instances


async def test_a_list_that_expires_between_two_pages_is_asked_for_from_the_beginning(token_file: Path) -> None:
    api = ApiServer(*(endpoint_slice(f"s{number}", endpoint(f"10.0.0.{number}")) for number in range(5)))
    api.expired_after = 1
    with api_server(api) as url:
        listing = await source(url, token_file).listing()
        assert ([f"http://10.0.0.{number}:8080" for number in range(5)], ()) == ([each.url for each in listing.instances], listing.mistakes)
    assert ["continue" in each for each in api.asked] == [False, True, True, False, True, True]


async def test_refusals_say_what_to_do_and_are_no_empty_lists(token_file: Path) -> None:
    api = ApiServer()
    with api_server(api) as url:
        with pytest.raises(KubernetesAnswerError, match="403: the account may not list endpointslices in other"):
            await source(url, token_file, namespace="other").listing()
        with pytest.raises(OSError, match="No such file"):
            await source(url, token_file.with_name("none")).listing()
        token_file.write_text(" \n")
        with pytest.raises(ValueError, match="is empty"):
            await source(url, token_file).listing()
    with pytest.raises(HttpClientError):
        await source(url, _token(token_file)).listing()


def _token(path: Path) -> Path:
    path.write_text("a-token")
    return path


async def test_a_server_that_never_comes_to_an_end_is_given_up(token_file: Path) -> None:
    endless = json.dumps({"kind": "EndpointSliceList", "metadata": {"continue": "on"}, "items": []}).encode()

    def answer(client: socket.socket) -> None:
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(endless) + endless)

    def gone(client: socket.socket) -> None:
        if b"continue" in heads[-1]:
            client.sendall(b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n")
        else:
            answer(client)

    with answering(answer) as (port, _), pytest.raises(KubernetesAnswerError, match="more than 50 pages"):
        await source(f"http://127.0.0.1:{port}", token_file).listing()
    with answering(gone) as (port, heads):
        with pytest.raises(KubernetesAnswerError, match="status 410"):
            await source(f"http://127.0.0.1:{port}", token_file).listing()
        assert 8 == len(heads)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"kind": "Status", "items": []}', b'{"items": [7]}', b'{"items": 7}', b"[" * 100_000])
def test_what_is_no_list_of_slices_is_a_failure(content: bytes) -> None:
    with pytest.raises(UnreadableSliceError):
        SlicePage.read(content)


def test_in_a_pod_the_server_and_the_files_are_where_kubernetes_puts_them() -> None:
    mine = KubernetesSource("orders", environ={"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"})
    assert "Kubernetes service orders at https://[fd00::1]:6443" == repr(mine)
    with pytest.raises(ConfigError, match="this is no pod of Kubernetes"):
        KubernetesSource("orders", environ={})
