"""What the gateway tells of its requests: the ``[access_log]`` and ``[tracing]`` tables."""

from __future__ import annotations

import re
from typing import Any, Final

import attrs

from ...core.checks import flag, number, one_of, text
from ...errors import ConfigError
from ..logs.log_writer import MAX_QUEUE, path_trouble
from ..logs.redaction import SECRET_PARAMETERS, may_be_logged
from .checks import checked

LOG_FORMATS: Final = ("json", "clf", "combined")
TRUST: Final = ("none", "proxies", "all")
_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")


def header_mistake(value: Any) -> str | None:
    """What is wrong with the name of a header; None if nothing is."""
    if isinstance(value, str) and _NAME.fullmatch(value):
        return None
    return "must be the name of a header, such as User-Agent"


def _logged_mistake(value: Any) -> str | None:
    if isinstance(value, str) and not may_be_logged(value):
        return "must be headers without credentials, which are never logged"
    return header_mistake(value)


@attrs.frozen(kw_only=True)
class AccessLogSettings:
    """The ``[access_log]`` table.

    Attributes:
        format: "json", "clf" (Common Log Format) or "combined".
        to: "stdout", "stderr" or the path of a file, which is opened anew when it was moved.
        sample: Share of the requests that succeeded which is logged; those with a status from 400 on, or without a
            complete answer, always are.
        redact: Names of query parameters whose values are not logged.
        headers: Request headers that are logged, as JSON.
        max_queue: Entries that may wait to be written; further ones are dropped and counted.
    """

    format: str = attrs.field(default="json", validator=one_of(*LOG_FORMATS))
    to: str = attrs.field(default="stdout", validator=text())
    sample: float = attrs.field(default=1.0, validator=number(least=0, most=1))
    redact: tuple[str, ...] = SECRET_PARAMETERS
    headers: tuple[str, ...] = attrs.field(default=(), validator=checked(_logged_mistake, each=True))
    max_queue: int = attrs.field(default=MAX_QUEUE, validator=number(least=1, most=1_000_000, whole=True))

    def __attrs_post_init__(self) -> None:
        if self.headers and self.format != "json":
            raise ConfigError(f"headers are for the format json; {self.format} has fields of its own", "headers")

    def trouble(self) -> str | None:
        """Why no line can be written; None: it seems that one can."""
        return None if self.to in ("stdout", "stderr") else path_trouble(self.to)


@attrs.frozen(kw_only=True)
class TracingSettings:
    """The ``[tracing]`` table.

    Attributes:
        trust: Whose ``traceparent`` and request ids are continued: "none", "proxies" (those in ``trusted_proxies``) or
            "all".
        sample: Share of the traces that begin here which are marked as sampled.
        request_id: Header of a request's id, which upstreams get and answers have; None (``false``): none.
        opentelemetry: Whether each request becomes a span of OpenTelemetry.
    """

    trust: str = attrs.field(default="proxies", validator=one_of(*TRUST))
    sample: float = attrs.field(default=1.0, validator=number(least=0, most=1))
    request_id: str | None = attrs.field(default="X-Request-ID", validator=checked(header_mistake, optional=True))
    opentelemetry: bool = attrs.field(default=False, validator=flag)
