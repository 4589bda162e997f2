"""Context: one exchange, as its filters see it.

What a filter reads is what the upstream would get: the path that was matched, and headers from which the gateway has
taken what concerns one connection, and claims that the client may not make. So no filter decides about a spelling
that nobody else sees.
"""

from __future__ import annotations

import operator
from collections.abc import Hashable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NoReturn

import attrs

from ..logs.observed_request import ObservedRequest
from ..messages.exchange import Header, Request
from ..messages.inbound import ClientCertificate, RequestHead
from ..messages.problem import reason_of
from ..routing.authority import authority
from ..routing.paths import canonical, query_is_legal
from .fields import Fields, header

if TYPE_CHECKING:
    from .compress import Compressor

_UPSTREAM_PATH: Final = "the route was chosen by the path; set request.upstream_path, which is what the service gets"


class FilterError(Exception):
    """A failure that a filter expects, and whose message says all that there is to say: no traceback is logged."""


@attrs.frozen(kw_only=True)
class Identity:
    """Who sent a request, as an authentication filter found out.

    Attributes:
        consumer: Name of the user or program.
        scopes: What it may do, as OAuth's scopes are.
        roles: What it is.
        tenant: Whom it belongs to; None: nobody was named.
        method: How it was found out, such as "jwt" or "api_key".
        claims: What else is known of it, such as the claims of its token, or ``key``, the ID of its API key. Not to be
            changed.
    """

    consumer: str
    scopes: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    tenant: str | None = None
    method: str = ""
    claims: Mapping[str, Any] = attrs.field(factory=dict, repr=False)

    @property
    def key(self) -> Hashable:
        """The same for two requests of one sender who may do the same."""
        return self.consumer, self.tenant, self.scopes, self.roles, self.method


class Refusal:
    """An error response that is to be sent.

    Attributes:
        status: HTTP status.
        detail: One sentence for the client.
        headers: Beside those of the body.
        close: Whether the connection is closed after it.
        members: Further members of the body.
        response: What is sent as it is; None: the error endpoint, or the gateway, makes it.
        reason: One word for logs.
    """

    __slots__ = ("close", "detail", "headers", "members", "reason", "response", "status")

    def __init__(self, status: int, detail: str, headers: Sequence[Header] = (), close: bool = False,
                 members: Mapping[str, Any] = MappingProxyType({}), response: FilterResponse | None = None,
                 reason: str | None = None) -> None:
        self.status, self.detail, self.headers, self.close, self.members = status, detail, headers, close, members
        self.response, self.reason = response, reason_of(status) if reason is None else reason


def _fixed(name: str, instead: str = "it says how the request came", of: str = "request") -> Any:
    """What filters can only read; setting it is an error that says what to do *instead*."""

    def refuse(_: Any, __: Any) -> NoReturn:
        raise AttributeError(f"a filter cannot set {of}.{name}: {instead}")

    return property(operator.attrgetter(f"_{name}"), refuse)


class FilterRequest:
    """The request on its way to the upstream. Setting what no filter can set raises AttributeError.

    Attributes:
        method: As sent.
        path: The path that was matched to a route, percent-encoded as it came.
        scheme: "http" or "https", as the client's connection is.
        headers: What goes upstream; its items may be changed.
        peer: Address of the other end of the client's connection; None: unknown, as for a Unix socket.
        client: See messages.exchange.Request.
        certificate: The client's certificate, which the server has verified; None: none.
        parameters: Parts of the path that the route has names for.
        length: Bytes of the body; None: unknown, it is chunked.
        body: The whole body, if a filter has asked for it; None: it streams past. What is set here goes upstream.
        target: What the service gets, with the query as it came.
        sets_host: Whether a filter has set the host.
    """

    __slots__ = (
        "_certificate", "_client", "_headers", "_host", "_length", "_method", "_parameters", "_path", "_peer", "_query",
        "_scheme", "body", "sets_host", "target")

    method: Final[str] = _fixed("method", "the route, its limits and its retries were chosen by it")
    path: Final[str] = _fixed("path", _UPSTREAM_PATH)
    parameters: Final[Mapping[str, str]] = _fixed("parameters", _UPSTREAM_PATH)
    headers: Final[Fields] = _fixed("headers", "change its items, as in request.headers['X-Region'] = 'eu'")
    length: Final[int | None] = _fixed("length", "set request.body, whose length counts")
    scheme: Final[str] = _fixed("scheme")
    peer: Final[str | None] = _fixed("peer")
    client: Final[bytes | None] = _fixed("client")
    certificate: Final[ClientCertificate | None] = _fixed("certificate")

    def __init__(self, head: RequestHead, request: Request, path: bytes, host: bytes,
                 parameters: Mapping[str, str]) -> None:
        self._method, self._scheme, self._certificate = head.method, head.scheme, head.certificate
        self._path, self._query, self._host = (
            path.decode("latin-1"), head.query.decode("latin-1"), host.decode("latin-1"))
        self._headers = Fields(request.headers if isinstance(request.headers, list) else list(request.headers))
        self._peer, self._client = head.client[0] if head.client else None, request.client
        self._parameters, self._length, self.body = MappingProxyType(parameters), request.length, request.body
        self.target, self.sets_host = request.target, False

    @property
    def upstream_path(self) -> str:
        """The path that the route's service gets, below its base path: what the route has made of ``path``.

        Setting it raises ValueError for what is no path that is forwarded.
        """
        return self.target.partition(b"?")[0].decode("latin-1")

    @upstream_path.setter
    def upstream_path(self, path: str) -> None:
        self.target = canonical(path.encode("latin-1"), (b"%2f", b"%5c", b"%25")).raw

    @property
    def query(self) -> str:
        """The raw query, without its question mark; what is set here goes upstream.

        Setting it raises ValueError for characters that must be percent-encoded.
        """
        return self._query

    @query.setter
    def query(self, query: str) -> None:
        if not query_is_legal(query.encode("latin-1")):
            raise ValueError(f"the query {query!r} has characters that must be percent-encoded")
        self._query = query

    @property
    def host(self) -> str:
        """The Host header; what is set here goes upstream, to services without ``preserve_host``, too.

        Setting it raises ValueError for what is no host.
        """
        return self._host

    @host.setter
    def host(self, host: str) -> None:
        self._host, self.sets_host = authority(host.encode("latin-1")).text.decode("latin-1"), True


class FilterResponse:
    """The response on its way to the client.

    Attributes:
        status: HTTP status; may be changed.
        headers: May be changed.
        body: The whole body, if the gateway itself answers, or a filter has asked for it; None: it streams past.
            What is set here is sent. It is coded as the header Content-Encoding says.
        is_ours: Whether the gateway answers, and no upstream.
        original: The body as the upstream has sent it, if it was taken in.
        original_status: The status as it was.
        compressor: Compresses the body on its way, if the client takes that; None: it is sent as it is.
    """

    __slots__ = ("body", "compressor", "headers", "is_ours", "original", "original_status", "status")

    def __init__(self, status: int, headers: list[Header], body: bytes | None, *, is_ours: bool) -> None:
        self.status, self.headers, self.body, self.is_ours = status, Fields(headers), body, is_ours
        self.original: bytes | None = None
        self.original_status = status
        self.compressor: Compressor | None = None


class FilterContext:
    """One exchange. Of one task, and of no use after it.

    Attributes:
        request: What the client wants.
        response: What it gets; None before the endpoint has answered.
        route: Name of the route; empty: none has taken the request.
        service: Name of the service that the request goes to; an inbound filter may set another.
        endpoint: Name of the endpoint filter that answers; None: the service does. An inbound filter may set another.
        error_endpoint: Name of the endpoint filter that answers for refusals and failures; None: the gateway does.
        identity: Who sent the request; None: nobody knows, or has asked.
        challenges: What authentication filters would have sent in WWW-Authenticate.
        attributes: For the filters' own use.
        errors: Which filters have failed, in order, as (name, exception).
        refusal: The error response that is to be sent; None: none.
        static: What answer() was given last; None: nothing.
        stopped: Whether stop() was called.
        observed: What is noted of the request, for logs and limits; None: nothing is.
    """

    __slots__ = ("_attributes", "_route", "challenges", "endpoint", "error_endpoint", "errors", "identity", "observed",
                 "refusal", "request", "response", "service", "static", "stopped")

    route: Final[str] = _fixed("route", "set context.service, context.endpoint or context.request.upstream_path",
                               of="context")

    def __init__(self, request: FilterRequest, route: str, service: str, endpoint: str | None,
                 error_endpoint: str | None) -> None:
        self.request, self._route, self.service = request, route, service
        self.endpoint, self.error_endpoint = endpoint, error_endpoint
        self.response: FilterResponse | None = None
        self.identity: Identity | None = None
        self.errors: list[tuple[str, BaseException]] = []
        self.refusal: Refusal | None = None
        self.stopped = False
        self.observed: ObservedRequest | None = None
        self.challenges: list[str] = []
        self.static: FilterResponse | None = None
        self._attributes: dict[str, Any] | None = None

    @property
    def attributes(self) -> dict[str, Any]:
        """A dictionary for the filters' own use."""
        if self._attributes is None:
            self._attributes = {}
        return self._attributes

    @property
    def error(self) -> BaseException | None:
        """The exception of the filter that failed last; None: none has."""
        return self.errors[-1][1] if self.errors else None

    def answer(self, status: int, body: bytes | str = b"", headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
               ) -> None:
        """Answer this instead of what the endpoint would. Inbound filters that follow run all the same; see stop().

        Args:
            status: HTTP status, from 200 to 599.
            body: Text is sent as UTF-8.
            headers: Beside Content-Length.

        Raises:
            ValueError: There is no such status, or a header is none.
            RuntimeError: There is a response already; outbound filters change that.
        """
        if self.response is not None:
            raise RuntimeError("there is a response already: an outbound filter changes context.response, or refuses")
        if not isinstance(status, int) or not 200 <= status <= 599:
            raise ValueError(f"a status must be a whole number from 200 to 599, not {status!r}")
        lines = [header(name, value) for name, value in
                 (headers.items() if isinstance(headers, Mapping) else headers)]
        content = body.encode() if isinstance(body, str) else body
        self.static = FilterResponse(status, lines, content, is_ours=True)

    def refuse(self, status: int, detail: str, headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
               **members: Any) -> None:
        """Answer with an error response. Inbound filters that follow are skipped; outbound filters run.

        The first refusal counts, and it stands above every answer(). One of an outbound filter takes the place of the
        response.

        Args:
            status: HTTP status, from 400 to 599.
            detail: One sentence for the client.
            headers: Beside those of the body.
            **members: Of the body, beside those of RFC 9457; JSON.

        Raises:
            ValueError: There is no such status, or a header is none.
        """
        if not isinstance(status, int) or not 400 <= status <= 599:
            raise ValueError(f"the status of an error must be a whole number from 400 to 599, not {status!r}")
        lines = [header(name, value) for name, value in
                 (headers.items() if isinstance(headers, Mapping) else headers)]
        if self.refusal is None or self.response is not None:
            closes = self.refusal is not None and self.refusal.close  # what is in doubt stays so
            self.refusal = Refusal(status, detail, lines, closes, members)

    def stop(self) -> None:
        """Skip all filters that follow, outbound ones too, but for those that are declared with ``always``."""
        self.stopped = True
