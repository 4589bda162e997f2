"""Chains without a server: a client and a forwarder that only note what they are given."""

from __future__ import annotations

from resilience import Registry
from resilience.gateway.config import FilterConfig, RouteConfig
from resilience.gateway.filters.chain import FilterRunner, chain_of
from resilience.gateway.filters.step import step_of
from resilience.gateway.forwarding import AnswerBody, Forwarder
from resilience.gateway.messages.exchange import Request
from resilience.gateway.messages.inbound import RequestHead
from resilience.gateway.request_mapping import Admitted
from resilience.gateway.routes import Route
from resilience.gateway.routing.paths import canonical
from resilience.gateway.routing.patterns import Pattern


class NoService:
    """A service of which nothing is known but its name."""

    max_body = None
    preserve_host = False
    idle = fallbacks = None

    def __init__(self, name="up"):
        self.name = name


def admitted(chain, request, path=b"/x"):
    """A request on a route with these filters."""
    settings = RouteConfig(path="/*", service="up")
    route = Route("route", NoService(), "up", settings, chain, Pattern.parse("/*"), None, None)
    return Admitted(route, request, canonical(path), b"gw")


class Client:
    """An Inbound that sends *pieces* and notes the answer."""

    def __init__(self, head, pieces=()):
        self.head, self.pieces = head, list(pieces)
        self.answer = self.hop = None
        self.trailers = ()

    def interim(self, status, headers):
        """Drop it."""

    async def receive(self):
        piece = self.pieces.pop(0) if self.pieces else b""
        return piece, bool(self.pieces)

    def body_is_over(self):
        pass

    async def respond(self, status, headers, body):
        assert self.answer is None
        self.answer = (status, dict(headers), body)

    @property
    def status(self):
        return self.answer[0]


class Answering(Forwarder):
    """A forwarder whose service answers at once: 200 "up", or what is set."""

    def __init__(self, problem=None):
        super().__init__(client_timeout=5.0, upload_timeout=None, min_upload_rate=None)
        self.problem = problem
        self.requests = []

    async def forward(self, service, request, inbound, outbound=None, *, mirror=None):
        self.requests.append((service.name, request))
        if self.problem is not None:
            raise self.problem
        status, headers, whole = 200, [(b"content-length", b"2")], None
        if outbound is not None:
            status, headers, whole = await outbound(status, headers, Whole(b"up"))
        await inbound.respond(status, headers, b"up" if whole is None else whole)


class Whole(AnswerBody):
    """A body that has arrived."""

    def __init__(self, body):
        self.taken = body

    async def whole(self, limit):
        return self.taken if len(self.taken) <= limit else None


class Bench:
    """A runner for filters of code, and what came of one request."""

    def __init__(self, *filters, error_endpoint=None, problem=None, on_route=None, services=("up",)):
        self.registry = Registry()
        self.forwarder = Answering(problem)
        configs = [each if isinstance(each, FilterConfig) else FilterConfig.of(each) for each in filters]
        self.steps = {each.name: step_of(each, each.target, self.registry) for each in configs}
        services = {name: NoService(name) for name in services}
        self.runner = FilterRunner(self.forwarder, services, self.steps, error_endpoint)
        self.chain = chain_of([step for step in self.steps.values() if on_route is None or step.name in on_route])

    async def get(self, path=b"/x", *, method="GET", headers=(), query=b"", body=b"", length=-1, peer="192.0.2.7"):
        length = len(body) if length == -1 else length
        head = RequestHead(method, path, query, "1.1", "http", [(b"host", b"gw"), *headers], (peer, 1), ("127.0.0.1", 80))
        client = Client(head, [body] if body else [])
        request = Request(method=method, target=path + (b"?" + query if query else b""), host=None, headers=list(headers),
                          length=length, body=None if body else b"")
        await self.runner.serve(self.chain, admitted(self.chain, request, path), client)
        return client

    @property
    def sent(self):
        """The last request that was forwarded; None: none was."""
        return self.forwarder.requests[-1][1] if self.forwarder.requests else None
