"""A tunnel went on while one of its machines had vanished: for as long as TCP repeats what nobody acknowledges.

While the other side said something now and then, as WebSockets do, the tunnel's own bound on silence did not end it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

import pytest

from resilience.gateway.messages.tunnel import GONE_S, Tunnel, TunnelEnd
from resilience.gateway.server import new_loop

_WATCHED = {"SO_KEEPALIVE": 1, "TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4, "TCP_USER_TIMEOUT": 1000 * GONE_S}


def _watched(sock: socket.socket) -> dict[str, int]:
    return {name: sock.getsockopt(socket.SOL_SOCKET if name.startswith("SO") else socket.IPPROTO_TCP, getattr(socket, name))
            for name in _WATCHED}


async def _end(sock: socket.socket) -> TunnelEnd:
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=sock)
    transport.pause_reading()
    return TunnelEnd(transport)


def _pair(family: int) -> tuple[socket.socket, socket.socket]:
    if family == socket.AF_UNIX:
        return socket.socketpair()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return socket.create_connection(listening.getsockname()), listening.accept()[0]


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="needs Linux")
@pytest.mark.parametrize("loop_factory", [new_loop, asyncio.new_event_loop])
def test_the_system_watches_the_machines_at_both_ends_of_a_tunnel(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def main() -> None:
        with contextlib.ExitStack() as stack:
            pairs = [[stack.enter_context(each) for each in _pair(family)] for family in (
                socket.AF_INET, socket.AF_INET, socket.AF_UNIX, socket.AF_UNIX)]
            same = [stack.enter_context(mine.dup()) for mine, _ in pairs]
            for mine, other in pairs:
                mine.setblocking(False)
                other.setblocking(False)
            one, two, local, another = [await _end(mine) for mine, _ in pairs]
            tunnels = [asyncio.ensure_future(Tunnel(*ends, 60.0).run()) for ends in ((one, two), (local, another))]
            loop = asyncio.get_running_loop()
            for left, right in ((0, 1), (2, 3)):
                await loop.sock_sendall(pairs[left][1], b"hello")
                assert b"hello" == await loop.sock_recv(pairs[right][1], 100)
            assert [_WATCHED, _WATCHED] == [_watched(each) for each in same[:2]]
            assert _WATCHED["TCP_KEEPIDLE"] + _WATCHED["TCP_KEEPINTVL"] * _WATCHED["TCP_KEEPCNT"] == GONE_S
            for tunnel in tunnels:
                tunnel.cancel()
            await asyncio.wait(tunnels)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())
