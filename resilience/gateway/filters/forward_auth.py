"""Forward authentication: another service says whether a request may pass, and who sent it.

It is asked with GET, without the request's body, and gets the headers that the file names, beside what the request is
about (X-Forwarded-Method, -Proto, -Host, -Uri, -For). With 2xx the request passes, with the headers of the answer that
the file names; 401, 403 and redirects are given to the client; everything else, and no answer, refuses the request. The
call goes through the command of a service: one of the gateway's, or one of the filter's own for a URL.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import attrs

from ...core.checks import number, text
from ...errors import ConfigError, ResilienceError
from ..config.checks import checked, meaningless
from ..config.contents import contents_by, of_files
from ..config.identity import own_header_mistake
from ..config.observing import header_mistake
from ..messages.content import ASKED_PLAIN
from ..messages.exchange import Header, Request, UpstreamError
from ..messages.headers import folded
from ..messages.problem import problem_of
from ..services.service import Service
from ..subrequest import Answer, asked
from .asked_url import service_of, target_of, url_mistake
from .context import FilterContext, FilterResponse, Identity, Refusal
from .declare import FilterHost, declare_anew, inbound_filter
from .identity import single

_TIME_LIMIT_S: Final = 5.0
_GIVEN_TO_CLIENTS: Final = frozenset({301, 302, 303, 307, 308, 401, 403})
_NEVER_SENT: Final = frozenset({"host", "content-length", "transfer-encoding", "connection", "upgrade", "expect"})


def _sent_mistake(value: Any) -> str | None:
    if not isinstance(value, str) or not value or value.lower() in _NEVER_SENT or not value.replace("-", "").isalnum():
        return "must be the name of a header that does not concern the connection"
    return None


def _path_mistake(value: Any) -> str | None:
    if not isinstance(value, str) or not value.startswith("/") or not value.isascii() \
            or any(ord(each) <= 32 for each in value):
        return "must be a path that begins with a slash"
    return None


@inbound_filter(name="forward_auth", order=10, fail_closed=True, always=True, time_limit=_TIME_LIMIT_S)
@attrs.frozen(kw_only=True, slots=False)
class ForwardAuth:
    """The settings of a ``forward_auth`` filter. One of service and url is needed.

    Attributes:
        service: Name of a service of the gateway that is asked.
        path: What it is asked for.
        url: URL that is asked, instead of a service and a path.
        ca_file: Certificates in PEM of the authorities that the URL is verified by; None: the system's.
        timeout: Seconds that the URL may take; a service has a timeout of its own.
        send_headers: Headers of the request that are sent along.
        copy_headers: Headers of the answer that the request gets; nobody else can set them.
        consumer_header: Header of the answer that names the consumer; None: none does.
        scopes_header: Header of the answer with the consumer's scopes, between spaces; None: none has them.
        roles_header: Header of the answer with the consumer's roles, between commas; None: none has them.
        tenant_header: Header of the answer that names the consumer's tenant; None: none does.
        answer_headers: Headers of an answer that is given to the client.
        max_body: Bytes of an answer.
        contents: A hash of the certificates; see config.contents.
    """

    authenticates = True

    service: str | None = attrs.field(default=None, validator=text(optional=True))
    path: str = attrs.field(default="/", validator=checked(_path_mistake))
    url: str | None = attrs.field(default=None, validator=checked(url_mistake, optional=True))
    ca_file: str | None = attrs.field(default=None, validator=text(optional=True))
    timeout: float = attrs.field(default=1.0, validator=number(above=0, most=60.0))
    send_headers: tuple[str, ...] = attrs.field(
        default=("Authorization", "Cookie"), validator=checked(_sent_mistake, each=True))
    copy_headers: tuple[str, ...] = attrs.field(default=(), validator=checked(own_header_mistake, each=True))
    consumer_header: str | None = attrs.field(default=None, validator=checked(header_mistake, optional=True))
    scopes_header: str | None = attrs.field(default=None, validator=checked(header_mistake, optional=True))
    roles_header: str | None = attrs.field(default=None, validator=checked(header_mistake, optional=True))
    tenant_header: str | None = attrs.field(default=None, validator=checked(header_mistake, optional=True))
    answer_headers: tuple[str, ...] = attrs.field(
        default=("Location", "Set-Cookie", "WWW-Authenticate", "Content-Type", "Cache-Control"),
        validator=checked(_sent_mistake, each=True))
    max_body: int = attrs.field(default=64 * 1024, validator=number(least=0, most=1 << 24, whole=True))
    contents: bytes = contents_by(lambda settings: of_files(settings.ca_file))

    def __attrs_post_init__(self) -> None:
        if (self.service is None) == (self.url is None):
            raise ConfigError("needs either the name of a service or a url", "service")
        if self.consumer_header is None:
            meaningless(self, ("scopes_header", "roles_header", "tenant_header"),
                        "without consumer_header: there is nobody who could have them")
        if self.url is None:
            meaningless(self, ("ca_file", "timeout"), "with a service, which has its own")
        else:
            meaningless(self, ("path",), "with a url, which has its own")
            service_of(self.url, self.timeout, self.ca_file)  # finds mistakes
            declare_anew(self, time_limit=max(_TIME_LIMIT_S, 2 * self.timeout + 1.0))

    @property
    def own_headers(self) -> tuple[str, ...]:
        """Headers that the gateway alone sets."""
        return self.copy_headers

    @property
    def needs_services(self) -> tuple[str, ...]:
        """Services of the gateway that must be there."""
        return () if self.service is None else (self.service,)

    def bind(self, host: FilterHost) -> Callable[[FilterContext], Awaitable[None]]:
        """The filter, which is a coroutine function."""
        if self.url is None:
            assert self.service is not None
            return _Asking(self, host.services[self.service], self.path.encode()).run
        service = host.service("call", service_of(self.url, self.timeout, self.ca_file))
        return _Asking(self, service, target_of(self.url)).run


class _Asking:
    """A ``forward_auth`` filter. For one event loop."""

    def __init__(self, settings: ForwardAuth, service: Service, target: bytes) -> None:
        self._settings, self._service, self._target = settings, service, target
        self._sent = frozenset(each.lower().encode() for each in settings.send_headers)
        self._spelt = frozenset(map(folded, self._sent))
        self._copied = frozenset(each.lower().encode() for each in settings.copy_headers)
        self._given = frozenset(each.lower().encode() for each in settings.answer_headers) | {b"content-encoding"}

    async def run(self, context: FilterContext) -> None:
        """Ask, and do as the answer says."""
        single(context, "authorization")
        if context.refusal is not None:
            return
        lines = context.request.headers.lines  # of another spelling the one who is asked may know nothing
        lines[:] = [line for line in lines if line[0] in self._sent or folded(line[0]) not in self._spelt]
        request = Request(method="GET", target=self._target, host=None, headers=self._headers(context))
        try:
            answer = await asked(self._service, request, self._settings.max_body)
        except (ResilienceError, UpstreamError) as error:
            context.refuse(503, "nobody can say now whether you may do this", {"retry-after": "1"})
            raise UpstreamError(problem_of(error, self._service.name).detail) from None
        if 200 <= answer.status < 300:
            self._let_pass(context, answer)
        elif answer.status in _GIVEN_TO_CLIENTS:
            headers = [header for header in answer.headers if header[0] in self._given]
            response = FilterResponse(answer.status, headers, answer.body, is_ours=True)
            context.refusal = context.refusal or Refusal(answer.status, "this needs credentials", response=response)
        else:
            context.refuse(503, "nobody can say now whether you may do this", {"retry-after": "1"})
            raise UpstreamError(f"{self._service.name} has answered with {answer.status}")

    def _headers(self, context: FilterContext) -> list[Header]:
        asking = context.request
        found = [line for line in asking.headers.lines
                 if line[0] in self._sent or line[0] in (b"x-forwarded-for", b"x-forwarded-proto")]
        target = f"{asking.path}?{asking.query}" if asking.query else asking.path
        if b"accept-encoding" not in self._sent:
            found.append(ASKED_PLAIN)
        return [*found, (b"x-forwarded-method", asking.method.encode()),
                (b"x-forwarded-host", asking.host.encode("latin-1")), (b"x-forwarded-uri", target.encode("latin-1"))]

    def _let_pass(self, context: FilterContext, answer: Answer) -> None:
        settings, lines = self._settings, context.request.headers.lines
        lines[:] = [line for line in lines if line[0] not in self._copied]
        lines.extend(line for line in answer.headers if line[0] in self._copied)
        if settings.consumer_header is None:
            return
        consumer = _value(answer, settings.consumer_header)
        if not consumer:
            context.refuse(503, "nobody can say now who you are", {"retry-after": "1"})
            raise UpstreamError(f"{self._service.name} has let pass somebody without a name")
        context.identity = Identity(
            consumer=consumer, method="forward_auth", tenant=_value(answer, settings.tenant_header) or None,
            scopes=frozenset((_value(answer, settings.scopes_header) or "").split()),
            roles=frozenset(filter(None, map(str.strip, (_value(answer, settings.roles_header) or "").split(",")))))


def _value(answer: Answer, name: str | None) -> str | None:
    """The one value of a header; None if there is none, or several."""
    wanted = (name or "").lower().encode()
    values = [value for each, value in answer.headers if each == wanted]
    return values[0].decode("latin-1") if len(values) == 1 else None
