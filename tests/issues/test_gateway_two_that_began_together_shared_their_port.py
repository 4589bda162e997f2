"""A gateway looks first whether its port is free; of two that looked at once both went on, and shared the clients."""

from __future__ import annotations

import socket

import pytest

from resilience.gateway.front.listener import bound
from resilience.gateway.listeners import ServeError
from resilience.gateway.supervision.reserved_ports import ReservedPorts
from tests.gateway.harness import free_port


@pytest.fixture
def ours() -> ReservedPorts:
    return ReservedPorts()


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost"])
def test_a_port_is_one_gateways_whose_workers_share_it(ours: ReservedPorts, host: str) -> None:
    bind, other = f"{host}:{free_port()}", ReservedPorts()
    ours.reserve([bind])
    with pytest.raises(ServeError, match=r"^cannot listen on .*: Address already in use$"):
        other.reserve([bind])
    workers = [*bound(bind, shared=True), *bound(bind, shared=True)]
    with pytest.raises(ServeError):
        other.reserve([bind])
    for each in workers:
        each.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(bind.rpartition(":")[2])))
    with pytest.raises(ServeError):
        other.reserve([bind])
    ours.keep([])
    other.reserve([bind])
    other.keep([])


def test_of_two_that_are_bound_at_once_one_has_the_port(ours: ReservedPorts, monkeypatch: pytest.MonkeyPatch) -> None:
    port, other, plain = f"127.0.0.1:{free_port()}", ReservedPorts(), socket.socket.bind

    def bind(one: socket.socket, where: tuple[str, int]) -> None:
        plain(one, where)
        monkeypatch.undo()
        other.reserve([port])

    monkeypatch.setattr(socket.socket, "bind", bind)
    with pytest.raises(ServeError):
        ours.reserve([port])
    workers = bound(port, shared=True)
    for each in workers:
        each.close()
    other.keep([])


def test_a_wider_or_narrower_address_of_a_port_that_is_ours_is_ours(ours: ReservedPorts) -> None:
    port = free_port()
    ours.reserve([f"127.0.0.1:{port}"])
    ours.reserve([f"0.0.0.0:{port}"])
    ours.keep([f"0.0.0.0:{port}"])
    with pytest.raises(ServeError):
        ReservedPorts().reserve([f"127.0.0.1:{port}"])
    ours.keep([])


def test_one_that_is_taken_leaves_the_others_as_they_were(ours: ReservedPorts) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        taken, free = f"127.0.0.1:{stranger.getsockname()[1]}", f"127.0.0.1:{free_port()}"
        with pytest.raises(ServeError):
            ours.reserve([free, taken])
    ours.keep([])
    ours.reserve([free])
    ours.keep([])
