"""ServedEndpoint: one endpoint of a service, with the command around its exchanges.

What the file says of secrets (``env:NAME``, ``file:PATH``) is looked up here, when the service is made, and shown
nowhere.
"""

from __future__ import annotations

import contextlib
from typing import Final

import attrs

from ..balancing import EndpointState
from ..config.endpoints import EndpointConfig
from ..config.secrets import with_secret
from ..messages.content import OF_THE_BYTES, check_type, decoded, may_be_json
from ..messages.exchange import Endpoint, InvalidRequestError, Request
from ..messages.headers import folded, without
from ..messages.json_pointer import parsed, put
from ..messages.json_text import MOST_VALUES, parse, serialize
from ..messages.unreadable_body import UnreadableBodyError
from .service_command import Exchanging
from .trouble import Troubles

#: So much of a JSON body is taken in to set values in it, bytes.
MAX_JSON: Final = 1 << 20


class ServedEndpoint(EndpointState):
    """One endpoint of a service. Of one event loop.

    Attributes:
        config: As configured.
        endpoint: Where it is.
        call: The guarded exchange with it.
        key: Of its command.
        connect_timeout: Longest wait for a connection, seconds.
        statuses: Of answers that are raised for the failure rules to judge.
        troubles: The reasons why it failed that were logged.
        is_changing: Whether requests are changed for it.
        needs_body: Whether it has values to set in the body of a request.
    """

    __slots__ = ("_headers", "_json", "_replaced", "call", "config", "connect_timeout", "endpoint", "is_changing",
                 "key", "needs_body", "statuses", "troubles")
    call: Exchanging
    key: str

    def __init__(self, config: EndpointConfig, endpoint: Endpoint) -> None:
        super().__init__(config.name, weight=config.weight, zone=config.zone, priority=config.priority)
        self.endpoint = endpoint
        self.connect_timeout = 2.0
        self.statuses: frozenset[int] = frozenset()
        self.troubles = Troubles()
        self.configure(config)

    def configure(self, config: EndpointConfig) -> None:
        """Go by another configuration with the same URL.

        Raises:
            ConfigError: A secret is not there.
        """
        headers = [(name.lower().encode(), with_secret(value).encode()) for name, value in config.headers.items()]
        values = [(parsed(pointer), with_secret(value) if isinstance(value, str) else value)
                  for pointer, value in config.json.items()]
        self.config, self._headers, self._json = config, headers, values
        self._replaced = frozenset(folded(name) for name, _ in headers)
        self.zone, self.priority = config.zone, config.priority
        if self.weight != config.weight:
            self.weight = self.share = config.weight
        self.needs_body = bool(values)
        self.is_changing = bool(headers or values or self.endpoint.base)

    def changed(self, request: Request) -> Request:
        """The request as this endpoint gets it.

        Raises:
            InvalidRequestError: Values are to be set in its body, which is not JSON, or cannot be read.
        """
        headers, body, length = request.headers, request.body, request.length
        if self._replaced:
            headers = [*without(headers, self._replaced), *self._headers]
        if self._json and body and may_be_json(headers):
            try:
                check_type(headers)
                body = self._set_in(decoded(body, headers, max(len(body), MAX_JSON)))
            except UnreadableBodyError as error:
                raise InvalidRequestError(error.detail, error.status) from None
            headers = [header for header in headers if header[0] not in OF_THE_BYTES]
            length = len(body)
        target = self.endpoint.base + request.target if request.target[:1] == b"/" else request.target
        return attrs.evolve(request, target=target, headers=headers, length=length, body=body)

    def _set_in(self, body: bytes) -> bytes:
        content = parse(body, max_values=MOST_VALUES, half_pairs=True)
        for steps, value in self._json:
            with contextlib.suppress(LookupError):  # the way leads through what has no members
                put(content, steps, value)
        return serialize(content)
