"""A client or a session in the place of the transport was accepted, and its first request ended in an AttributeError."""

from __future__ import annotations

import httpx
import httpx2
import pytest
import requests

from resilience import Registry
from resilience.integrations import httpx as guarded_httpx
from resilience.integrations import httpx2 as guarded_httpx2
from resilience.integrations.requests import ResilienceAdapter


@pytest.mark.parametrize(("library", "guards"), [(httpx, guarded_httpx), (httpx2, guarded_httpx2)],
                         ids=["httpx", "httpx2"])
def test_a_client_is_no_transport(library, guards):
    with library.Client() as client, pytest.raises(TypeError, match=r"Client\(transport=\.\.\.\)"):
        guards.ResilienceTransport(client, registry=Registry())
    with pytest.raises(TypeError, match=r"a transport such as \w+\.AsyncHTTPTransport\(\) is guarded, not 'http"):
        guards.AsyncResilienceTransport("https://api.example", registry=Registry())


def test_a_transport_of_the_other_kind_is_refused():
    with pytest.raises(TypeError, match=r"httpx\.HTTPTransport\(\) is guarded"):
        guarded_httpx.ResilienceTransport(httpx.AsyncHTTPTransport(), registry=Registry())


@pytest.mark.parametrize("wrong", [requests.Session(), 3])
def test_a_session_is_no_adapter(wrong):
    with pytest.raises(TypeError, match=r"session\.mount\('https://', ResilienceAdapter\(\)\)"):
        ResilienceAdapter(wrong, registry=Registry())
