"""DnsSource: every address of a name (A, AAAA), or of every target of a service (SRV), for as long as their TTL says.

Names are asked of DNS servers by dnspython and not of the system's resolver, which knows no SRV and no TTL, sorts and
filters addresses for one connection, and blocks a thread. So /etc/hosts is not looked at; search domains are.

An answer is whole or none: if one family of addresses, or one target, cannot be had, the listing fails, so that nobody
is gone only because a packet was lost. A name without addresses is no failure. A target with a mistake, such as port 0,
is left out, and its mistake told.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, Literal

import attrs

from ..errors import ConfigError
from .instance import MAX_PRIORITY, Instance
from .source import MAX_INSTANCES, Listing

if TYPE_CHECKING:
    from dns.asyncresolver import Resolver
    from dns.resolver import Answer

Family = Literal["both", "ipv4", "ipv6"]
#: The types of records with addresses, by family.
TYPES: Final[dict[str, tuple[str, ...]]] = {"both": ("A", "AAAA"), "ipv4": ("A",), "ipv6": ("AAAA",)}
#: RFC 2782: a target of weight 0 has "a very small chance" beside others.
_LEAST_WEIGHT: Final = 0.1
#: Questions under way at once: a service may have hundreds of targets.
_MOST_QUESTIONS: Final = 32
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@attrs.frozen
class SrvTarget:
    """A name whose addresses are instances.

    Attributes:
        name: Without the dot at its end.
        port: TCP port.
        priority: The lowest number is asked first.
        weight: Its share, for all of its addresses together.
    """

    name: str
    port: int
    priority: int = 0
    weight: float = 1.0


class DnsSource:
    """Lists what DNS says; see Source. Needs dnspython."""

    def __init__(self, name: str, *, port: int | None = None, scheme: str = "http", family: Family = "both",
                 nameservers: Sequence[tuple[str, int]] = (), timeout_s: float = 5.0) -> None:
        """A source; nothing is asked yet.

        Args:
            name: Whose addresses are listed; a relative one is searched for as the system's configuration says.
            port: On which the service answers; None: *name* is that of SRV records, which say it.
            scheme: "http" or "https".
            family: Which addresses count.
            nameservers: Addresses and ports of the DNS servers, tried in turn; none: the system's.
            timeout_s: Longest wait for the answer to one question, with all servers tried.

        Raises:
            ImportError: There is no dnspython.
        """
        try:
            import dns.asyncresolver  # noqa: F401 - takes a while, which is better spent now
        except ModuleNotFoundError:
            raise ImportError(
                "it needs dnspython; install it: pip install 'resilience-commands[gateway]'", name="dns") from None
        self._name, self._port, self._scheme, self._family = name, port, scheme, family
        self._nameservers, self._timeout_s = tuple(nameservers), timeout_s

    def __repr__(self) -> str:
        return f"DNS {self._name}" + ("" if self._port is None else f":{self._port}")

    async def listing(self) -> Listing:
        """Every address, and for how long the answers hold.

        Raises:
            dns.exception.DNSException: There is no such name, or no server that answers.
        """
        resolver = self._resolver()
        if self._port is not None:
            targets, ttls = [SrvTarget(self._name.rstrip("."), self._port)], list[float]()
        else:
            targets, ttl_s = await self._targets(resolver)
            ttls = [ttl_s]
        types, limit = TYPES[self._family], asyncio.Semaphore(_MOST_QUESTIONS)
        answers = await asyncio.gather(*(self._addresses(resolver, limit, each.name, kind)
                                         for each in targets for kind in types), return_exceptions=True)
        found: list[Answer | None] = []
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
            found.append(answer)
        instances, mistakes = list[Instance](), list[str]()
        for index, target in enumerate(targets):
            mine = [each for each in found[index * len(types):(index + 1) * len(types)] if each is not None]
            ttls += [float(each.chaining_result.minimum_ttl) for each in mine if each.rrset is not None]
            addresses = [record.address for each in mine for record in each.rrset or ()]
            if self._port is None and not addresses:
                mistakes.append(f"the target {target.name} has no address")
            try:
                instances += [*self._instances(target, addresses)]
            except ConfigError as error:  # of an SRV record; those beside it are right all the same
                mistakes.append(f"the target {target.name}:{target.port}: {error}")
        return Listing(tuple(instances), tuple(mistakes), min(ttls, default=None))

    def _instances(self, target: SrvTarget, addresses: Sequence[str]) -> Iterator[Instance]:
        is_usual = target.port == _DEFAULT_PORTS[self._scheme]
        server_name = target.name if is_usual else f"{target.name}:{target.port}"
        for address in addresses:
            host = f"[{address}]" if ":" in address else address
            weight = target.weight / len(addresses) if self._port is None else target.weight
            yield Instance(url=f"{self._scheme}://{host}:{target.port}", server_name=server_name, weight=weight,
                           priority=target.priority)

    async def _targets(self, resolver: Resolver) -> tuple[list[SrvTarget], float]:
        """The targets of the SRV records, and for how long they hold."""
        answer = await resolver.resolve(self._name, "SRV", raise_on_no_answer=False, search=True)
        records = list(answer.rrset or ())
        if len(records) > MAX_INSTANCES:
            raise ValueError(f"it lists more than {MAX_INSTANCES} targets")
        ranks = {priority: rank for rank, priority in enumerate(sorted({each.priority for each in records}))}
        least = _LEAST_WEIGHT if any(each.weight for each in records) else 1.0
        targets = [SrvTarget(each.target.to_text(omit_final_dot=True), each.port,
                             min(ranks[each.priority], MAX_PRIORITY), float(each.weight) or least)
                   for each in records if each.target.to_text() != "."]  # RFC 2782: the service is not there
        return targets, float(answer.chaining_result.minimum_ttl)

    async def _addresses(self, resolver: Resolver, limit: asyncio.Semaphore, target: str, kind: str) -> Answer | None:
        """The addresses of a *target*; None: there is no such name, which is no failure where others were listed."""
        from dns.resolver import NXDOMAIN

        async with limit:
            if self._port is not None:
                return await resolver.resolve(self._name, kind, raise_on_no_answer=False, search=True)
            try:
                return await resolver.resolve(f"{target}.", kind, raise_on_no_answer=False)
            except NXDOMAIN:
                return None

    def _resolver(self) -> Resolver:
        """A resolver, made anew for each listing: the system's configuration may have changed."""
        import dns.asyncresolver
        import dns.nameserver

        resolver = dns.asyncresolver.Resolver(configure=not self._nameservers)
        if self._nameservers:
            resolver.nameservers = [dns.nameserver.Do53Nameserver(*each) for each in self._nameservers]
        resolver.lifetime = self._timeout_s
        resolver.timeout = min(resolver.timeout, self._timeout_s / (len(resolver.nameservers) + 1))  # of one server
        return resolver


def nameserver_of(text: str) -> tuple[str, int]:
    """Address and port of a DNS server: "10.0.0.2", "10.0.0.2:5353", "::1" or "[::1]:5353".

    Raises:
        ValueError: It is something else.
    """
    try:
        return str(ipaddress.ip_address(text)), 53
    except ValueError:
        host, _, port = text.rpartition(":")
        if host.startswith("[") != host.endswith("]") or not port.isascii() or not port.isdigit():
            raise ValueError("no address and port") from None
        if not 0 < int(port) < 65536:
            raise ValueError("no port") from None
        return str(ipaddress.ip_address(host.strip("[]"))), int(port)
