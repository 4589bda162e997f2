"""An instance that restarts under another ID, as with random IDs, is registered beside what it was before.

What it was is listed until that lease is over, and for ever while the registry keeps leases. Each was a mistake, and a
service of one instance that had restarted twice had more mistakes than instances, so that its list was refused.
"""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from resilience.discovery import Instance, Listing
from resilience.discovery.eureka_registry import listing_of
from resilience.discovery.membership import ListVerdict, Membership

URL = "http://10.0.0.1:8080"


def said(identity: str, registered_ms: int | None, status: str = "UP", weight: str = "1") -> dict[str, Any]:
    found = {"instanceId": identity, "ipAddr": "10.0.0.1", "hostName": "a", "port": {"$": 8080, "@enabled": "true"}, "status": status,
             "metadata": {"weight": weight}}
    return found if registered_ms is None else {**found, "lastDirtyTimestamp": f"{registered_ms}"}


def test_what_has_registered_last_at_an_address_is_the_instance() -> None:
    for some in permutations([said("a", 9_000, weight="1"), said("b", 10_000, weight="2"), said("c", 11_000, weight="3")]):
        listing = listing_of(some, secure=False, by_host_name=False)
        assert Listing((Instance(url=URL, weight=3.0),), is_leased=True) == listing
        assert ListVerdict.CHANGED is Membership().judge(listing, 0.0).verdict


@pytest.mark.parametrize("status", ["STARTING", "DOWN", "OUT_OF_SERVICE"])
def test_an_instance_that_ended_without_leaving_does_not_answer_for_the_one_that_took_its_place(status: str) -> None:
    for some in permutations([said("a", 9_000), said("b", 10_000, status)]):
        assert Listing((), is_leased=True, unavailable=frozenset({"10.0.0.1:8080"})) == listing_of(some, secure=False, by_host_name=False)
    for some in permutations([said("a", 10_000), said("b", 9_000, status)]):
        assert (Instance(url=URL),) == listing_of(some, secure=False, by_host_name=False).instances


def test_what_has_left_is_not_in_the_way_of_what_is_there_at_its_address() -> None:
    listing = listing_of([said("a", 9_000)], [said("b", 10_000)], secure=False, by_host_name=False)
    assert (Instance(url=URL),) == listing.instances


def test_of_instances_that_do_not_say_when_they_registered_one_that_is_up_counts() -> None:
    for some in permutations([said("a", None), said("b", None, "DOWN"), {**said("c", None), "lastDirtyTimestamp": "soon"}]):
        assert (Instance(url=URL),) == listing_of(some, secure=False, by_host_name=False).instances


def test_a_list_of_instances_that_enter_themselves_is_not_refused_because_some_are_there_more_than_once() -> None:
    some = Instance(url=URL), Instance(url=URL), Instance(url=URL, weight=2.0)
    update = Membership().judge(Listing(some, is_leased=True), 0.0)
    assert ListVerdict.CHANGED is update.verdict
    assert {"10.0.0.1:8080": Instance(url=URL)} == update.instances
    assert ("10.0.0.1:8080 is there twice; give it a weight instead",) == update.mistakes
    assert () == Membership().judge(Listing(some[:2], is_leased=True), 0.0).mistakes


def test_a_list_that_somebody_has_written_is_refused_if_most_of_it_is_the_same() -> None:
    assert ListVerdict.REFUSED is Membership().judge(Listing((Instance(url=URL),) * 3), 0.0).verdict
