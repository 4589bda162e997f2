"""KubernetesSource: the endpoints of a service in Kubernetes, from its EndpointSlices; endpoint_slices.py reads them.

The slices are listed by the label ``kubernetes.io/service-name``, page by page, and listed again at each question: a
watch would tell of a change sooner than the interval of who asks, and has to be listed anew whenever it breaks off.
In a pod the server, its authorities and the token are where Kubernetes puts them. The token is read for each listing,
since it changes every hour.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from ..drivers.system_clock import monotonic
from ..errors import ConfigError
from .daemon_thread import in_daemon_thread
from .endpoint_slices import Family, SlicePage, listing_of
from .http_client import HttpServer
from .source import Listing

#: Where Kubernetes puts what a pod needs to ask the API.
ACCOUNT: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
_SERVICE: Final = "kubernetes.io/service-name"
_PAGE: Final = 100
_MOST_PAGES: Final = 50
_MOST_BYTES: Final = 8 * 1024 * 1024
_MOST_FILE_BYTES: Final = 64 * 1024
_MOST_EXPIRED: Final = 3


class KubernetesAnswerError(Exception):
    """An API server does not answer with what it was asked for."""


class KubernetesSource:
    """Lists the endpoints of a service in Kubernetes; see Source."""

    def __init__(self, service: str, *, namespace: str | None = None, port: str | int | None = None,
                 scheme: str = "http", family: Family = "both", server_name: str = "", api: str | None = None,
                 token_file: str | None = None, ca_file: str | None = None, timeout_s: float = 5.0,
                 environ: Mapping[str, str] | None = None, clock: Callable[[], float] = monotonic) -> None:
        """A source; nothing is asked yet, and no file is read.

        Args:
            service: Name of the service.
            namespace: Of the service; None: that of the pod.
            port: Name or number of the port; None: the service has one.
            scheme: "http" or "https".
            family: Which addresses count; a pod with both kinds is one endpoint.
            server_name: What certificates are verified for, and what stands in the Host header; empty: the address.
            api: URL of the API server; None: that of the pod's cluster.
            token_file: File with the token; None: the pod's, if *api* is None, else there is none.
            ca_file: PEM file with the authorities of the API server; None: the pod's, if *api* is None, else the
                system's.
            timeout_s: Longest time for one listing.
            environ: Environment variables, which say where the API server is; None: those of the process.
            clock: Monotonic seconds.

        Raises:
            ConfigError: This is no pod, and *api* is not said; or the URL has a mistake.
        """
        if api is None:
            environ = os.environ if environ is None else environ
            host, number = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT", "443")
            if not host:
                raise ConfigError("is missing: this is no pod of Kubernetes, whose environment has "
                                  "KUBERNETES_SERVICE_HOST", "api")
            api = f"https://{f'[{host}]' if ':' in host else host}:{number}"
            token_file, ca_file = token_file or f"{ACCOUNT}/token", ca_file or f"{ACCOUNT}/ca.crt"
        self._server = HttpServer(api, ca_file=ca_file)
        self._service, self._namespace, self._token_file = service, namespace, token_file
        self._port, self._scheme, self._server_name = port, scheme, server_name
        self._family: Family = family
        self._timeout_s, self._clock = timeout_s, clock

    def __repr__(self) -> str:
        space = "" if self._namespace is None else f"{self._namespace}/"
        return f"Kubernetes service {space}{self._service} at {self._server!r}"

    async def listing(self) -> Listing:
        """The endpoints that are ready.

        Raises:
            KubernetesAnswerError: The server answers with another status than 200.
            UnreadableSliceError: It answers with something else.
            OSError: It cannot be asked, or a file cannot be read.
        """
        slices = await in_daemon_thread(self._slices)
        return listing_of(slices, port=self._port, scheme=self._scheme, family=self._family,
                          server_name=self._server_name)

    def _slices(self) -> list[Mapping[str, Any]]:
        """All slices of the service, of one moment."""
        ends_at = self._clock() + self._timeout_s
        headers = {} if self._token_file is None else {"Authorization": f"Bearer {_content(self._token_file)}"}
        namespace = self._namespace or _content(f"{ACCOUNT}/namespace")
        path = f"/apis/discovery.k8s.io/v1/namespaces/{quote(namespace, safe='')}/endpointslices"
        slices, following, expired = list[Mapping[str, Any]](), "", 0
        for _ in range(_MOST_PAGES):
            query = {"labelSelector": f"{_SERVICE}={self._service}", "limit": f"{_PAGE}"}
            if following:
                query["continue"] = following
            answer = self._server.ask("GET", f"{path}?{urlencode(query)}", headers=headers, most_bytes=_MOST_BYTES,
                                      timeout_s=max(0.05, ends_at - self._clock()), clock=self._clock)
            if answer.status == HTTPStatus.GONE and following and expired < _MOST_EXPIRED:
                slices, following, expired = [], "", expired + 1  # the moment has passed: from the beginning
                continue
            if answer.status != HTTPStatus.OK:
                raise KubernetesAnswerError(_explained(answer.status, namespace))
            page = SlicePage.read(answer.body)
            slices += page.slices
            following = page.next
            if not following:
                return slices
        raise KubernetesAnswerError(f"the service has more than {_MOST_PAGES} pages of EndpointSlices")


def _explained(status: int, namespace: str) -> str:
    hint = {401: ": the token is not valid", 403: f": the account may not list endpointslices in {namespace}",
            404: ": it does not know discovery.k8s.io/v1"}.get(status, "")
    return f"the API server answers with status {status}{hint}"


def _content(path: str) -> str:
    with Path(path).open("rb") as file:
        content = file.read(_MOST_FILE_BYTES).decode().strip()
    if not content or not content.isascii() or any(ord(c) < 32 for c in content):
        raise ValueError(f"{path} is empty, or has line breaks")
    return content
