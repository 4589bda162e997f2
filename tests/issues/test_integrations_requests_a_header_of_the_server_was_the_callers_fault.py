"""A server that sent two different lengths of its body was well to a guarded session of requests: requests raises
InvalidHeader for that, as for a header of the caller's that cannot be sent.
"""

import contextlib
import socket
import threading

import pytest
import requests

from resilience import Registry
from resilience.config import configure
from resilience.integrations.requests import ResilienceAdapter

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\nConnection: close\r\n\r\nab"


@pytest.fixture
def url():
    """Of a server that answers one request."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        def serve():
            client, _ = server.accept()
            with client:
                client.recv(65536)
                client.sendall(ANSWER)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@contextlib.contextmanager
def guarded_session(how, registry):
    with requests.Session() as session:
        session.trust_env = False
        if how == "adapter":
            session.mount("http://", ResilienceAdapter(registry=registry))
            yield session
            return
        with contextlib.closing(configure({"guards": {how: {}}}, registry=registry)):
            yield session


@pytest.mark.parametrize("how", ["adapter", "requests.sessions:Session.request", "requests.adapters:HTTPAdapter.send"])
def test_a_header_of_the_server_that_is_wrong_is_a_failure(url, how):
    registry = Registry()
    with guarded_session(how, registry) as session:
        with pytest.raises(requests.exceptions.InvalidHeader):
            session.get(url, timeout=10.0)
        counts = next(iter(registry)).snapshot().counts
    assert (1, 0) == (counts["failure"], counts["bad_request"])


def test_a_header_of_the_callers_that_cannot_be_sent_is_their_fault():
    registry = Registry()
    with guarded_session("requests.sessions:Session.request", registry) as session:
        with pytest.raises(requests.exceptions.InvalidHeader):
            session.get("http://127.0.0.1:1", headers={"a": "b\n"})
        counts = next(iter(registry)).snapshot().counts
    assert (0, 1) == (counts["failure"], counts["bad_request"])
