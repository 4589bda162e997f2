"""A DNS server on loopback, UDP and TCP, that answers as it is told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

TTL_S = 30


class DnsServer(asyncio.DatagramProtocol):
    """Answers questions for (name, type) with the records it has; of a name that it does not know, that there is none.

    Attributes:
        records: By name with its dot and type, as texts.
        ttl_s: Of all records.
        is_silent: It does not answer.
        rcode: What it answers instead of records; None: nothing is wrong.
        is_truncating: Its answers by UDP are cut short.
        asked: The questions.
    """

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], list[str]] = {}
        self.ttl_s = TTL_S
        self.is_silent = self.is_truncating = False
        self.rcodes: dict[str, int] = {}
        self.asked: list[tuple[str, str]] = []
        self.by_tcp = 0
        self.transport: Any = None
        self.port = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if not self.is_silent:
            answer = self.answer(data)
            if self.is_truncating:
                answer.flags |= dns.flags.TC
                answer.answer = []
            self.transport.sendto(answer.to_wire(max_size=65535), addr)

    def answer(self, data: bytes) -> dns.message.Message:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name, kind = question.name.to_text(), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        answer = dns.message.make_response(query)
        if kind in self.rcodes:
            answer.set_rcode(dns.rcode.Rcode(self.rcodes[kind]))
            return answer
        records = self.records.get((name, kind))
        if (name, "CNAME") in self.records:
            alias = self.records[name, "CNAME"][0]
            answer.answer.append(dns.rrset.from_text(question.name, 5, "IN", "CNAME", alias))
            name, records = alias, self.records.get((alias, kind))
        if records:
            answer.answer.append(dns.rrset.from_text(name, self.ttl_s, "IN", kind, *records))
        elif not any(known == name for known, _ in self.records):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        return answer

    async def serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.by_tcp += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                size = int.from_bytes(await reader.readexactly(2), "big")
                wire = self.answer(await reader.readexactly(size)).to_wire(max_size=65535)
                writer.write(len(wire).to_bytes(2, "big") + wire)
        writer.close()


@contextlib.asynccontextmanager
async def dns_server() -> AsyncIterator[DnsServer]:
    """A server that is up."""
    server, loop = DnsServer(), asyncio.get_running_loop()
    while True:
        listener = await asyncio.start_server(server.serve_tcp, "127.0.0.1", 0)
        server.port = listener.sockets[0].getsockname()[1]
        try:
            transport, _ = await loop.create_datagram_endpoint(lambda: server, local_addr=("127.0.0.1", server.port))
            break
        except OSError:
            listener.close()
    try:
        yield server
    finally:
        transport.close()
        listener.close()
