"""Endpoint slices: what the EndpointSlice objects of one service in Kubernetes amount to. Pure.

The API's documentation (discovery.k8s.io/v1) says how they are to be read, and that is done here:

- A service has several slices; an endpoint may be in two of them for a while, and counts once.
- ``ready`` that is missing counts as true. Terminating endpoints are left out, so that they drain; if no endpoint is
  ready, those that terminate and still serve are the endpoints, as kube-proxy has it.
- Only the first address of an endpoint means anything. A pod with an IPv4 and an IPv6 address is one endpoint.
- A port is found by its name; a service with one port needs none. A slice without ports has no endpoint.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal

import attrs

from ..errors import ConfigError
from .instance import Instance
from .source import Listing

Family = Literal["both", "ipv4", "ipv6"]
#: The types of addresses, in the order in which they are preferred, by family.
TYPES: Final[Mapping[str, tuple[str, ...]]] = {"both": ("IPv4", "IPv6"), "ipv4": ("IPv4",), "ipv6": ("IPv6",)}


class UnreadableSliceError(ValueError):
    """An answer of an API server cannot be understood."""


@attrs.frozen
class SlicePage:
    """One page of a list of slices.

    Attributes:
        slices: As they came.
        next: By which the next page is asked for; empty: this is the last one.
    """

    slices: tuple[Mapping[str, Any], ...]
    next: str

    @classmethod
    def read(cls, content: bytes) -> SlicePage:
        """The page in a JSON answer.

        Raises:
            UnreadableSliceError: It is something else.
        """
        try:
            said: Any = json.loads(content)
            if said.get("kind") not in ("EndpointSliceList", None):
                raise ValueError
            slices = tuple(said.get("items") or ())
            if not all(isinstance(each, Mapping) for each in slices):
                raise TypeError
            return cls(slices, str((said.get("metadata") or {}).get("continue") or ""))
        except (ValueError, TypeError, AttributeError, RecursionError):
            raise UnreadableSliceError("it is no list of EndpointSlices") from None


@attrs.frozen
class _Found:
    """An endpoint of a slice."""

    instance: Instance
    owner: str
    is_ready: bool
    is_draining: bool
    rank: int


def listing_of(slices: Iterable[Mapping[str, Any]], *, port: str | int | None, scheme: str, family: Family,
               server_name: str) -> Listing:
    """The listing of the slices of one service.

    Args:
        slices: As the API has them.
        port: Its name, or its number; None: there is one.
        scheme: "http" or "https".
        family: Which addresses count; of a pod that has both, "both" takes the IPv4 address.
        server_name: Of each instance; empty: its address.
    """
    found, mistakes = dict[str, _Found](), list[str]()
    for each in slices:
        name, endpoints = _name(each), each.get("endpoints") or ()
        if each.get("addressType") not in TYPES[family]:
            continue
        rank = TYPES[family].index(each["addressType"])
        try:
            number = _port(each, port)
        except (ValueError, OverflowError, TypeError, AttributeError) as error:
            mistakes.append(f"{name}: {error}")
            continue
        if number is None:
            continue
        if not isinstance(endpoints, Sequence):
            mistakes.append(f"{name}: its endpoints are no list")
            continue
        for endpoint in endpoints:
            try:
                one = _endpoint(endpoint, number, rank, scheme, server_name)
            except (ConfigError, ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
                mistakes.append(f"{name}: an endpoint cannot be read: {error}")
                continue
            known = found.get(one.instance.name)
            if known is None or (one.is_ready, one.is_draining) > (known.is_ready, known.is_draining):
                found[one.instance.name] = one
    ready = [each for each in found.values() if each.is_ready] or [each for each in found.values() if each.is_draining]
    return Listing(tuple(each.instance for each in _one_each(ready)), tuple(mistakes))


def _name(said: Mapping[str, Any]) -> str:
    """What a slice is called, for messages."""
    metadata = said.get("metadata")
    return str((isinstance(metadata, Mapping) and metadata.get("name")) or "a slice")[:100]


def _one_each(found: Iterable[_Found]) -> Iterable[_Found]:
    """One for each pod and port, at the address that is preferred."""
    chosen = dict[str, _Found]()
    for each in found:
        known = chosen.get(each.owner)
        if known is None or each.rank < known.rank:
            chosen[each.owner] = each
    return chosen.values()


def _port(said: Mapping[str, Any], wanted: str | int | None) -> int | None:
    """The number of the port that is wanted; None: the slice has no such port.

    Raises:
        ValueError: It is not said which of several ports is meant, or it has no number.
    """
    ports = [each for each in said.get("ports") or () if each.get("protocol") in ("TCP", None)]
    if isinstance(wanted, str):
        ports = [each for each in ports if (each.get("name") or "") == wanted]
    elif wanted is not None:
        ports = [each for each in ports if each.get("port") == wanted]
    elif len(ports) > 1:
        names = ", ".join(sorted(f"{each.get('name')!r}" for each in ports))
        raise ValueError(f"there are several ports, so say which: {names[:200]}")
    if not ports:
        return None
    return int(ports[0]["port"]) if ports[0].get("port") is not None else None


def _endpoint(said: Mapping[str, Any], port: int, rank: int, scheme: str, server_name: str) -> _Found:
    conditions = said.get("conditions") or {}
    is_ready, is_ending = conditions.get("ready") is not False, conditions.get("terminating") is True
    serves = conditions.get("serving")
    address = str(said["addresses"][0])
    host = f"[{address}]" if ":" in address else address
    instance = Instance(url=f"{scheme}://{host}:{port}", zone=str(said.get("zone") or ""), server_name=server_name)
    target = said.get("targetRef") or {}
    owner = f"{target['uid']}:{port}" if target.get("uid") else instance.name
    return _Found(instance, owner, is_ready and not is_ending,
                  is_ending and (serves is True or (serves is None and is_ready)), rank)
