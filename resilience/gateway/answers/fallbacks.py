"""Fallbacks: what clients get in the place of a failure of a service.

That is the last good answer, another service's, or always the same; they are tried in this order, and an answer of the
other service is judged as one of the first. A fallback answers when no endpoint has, and in the place of an answer
whose status is as good as a failure. Such an answer is given after all, if it is short, when there is nothing better.
What has been passed on in part cannot be replaced any more. An answer that was kept says how old it is (``Age``): since
it left its origin, which may have been long before it came here. A client that has it already, as its request says, is
told so (304).
"""

from __future__ import annotations

from typing import Final

from ..config.fallbacks import FallbackConfig
from ..messages.exchange import Header, Request
from ..messages.validators import has_it_already, not_modified
from .last_answers import LastAnswers

_FRAMING: Final = (b"content-length", b"transfer-encoding", b"connection", b"age")


class Fallbacks:
    """The fallbacks of one service. Of one event loop.

    Attributes:
        config: As configured.
        service: Name of the service that is asked then; None: none is.
        codes: Statuses that are as good as a failure.
        answers: The last good answers; None: none are kept.
    """

    def __init__(self, config: FallbackConfig) -> None:
        self.config = config
        self.service, self.codes = config.service, config.codes
        self.answers = None if config.stale is None else LastAnswers(config.stale)
        self._headers = [(name.lower().encode(), value.encode()) for name, value in config.headers.items()]

    def enter(self, previous: Fallbacks | None) -> None:
        """Be in force in the place of the *previous* ones, whose last good answers may be given by these settings."""
        if previous is not None and previous.answers is not None and self.config.stale is not None:
            self.answers = previous.answers
            self.answers.stale = self.config.stale

    def could_replace(self, request: Request, status: int, now: float) -> bool:
        """Whether there is something to give in the place of an answer with this *status*."""
        return status in self.codes and (
            (self.service is not None and request.body is not None) or self.are_at_hand(request, now))

    def are_at_hand(self, request: Request, now: float) -> bool:
        """Whether there is something to give in any case, whatever becomes of the other service."""
        return self.config.body is not None or (
            self.answers is not None and self.answers.find(request, now) is not None)

    def kept(self, request: Request, now: float) -> tuple[int, list[Header], bytes] | None:
        """The last good answer to this request."""
        found = None if self.answers is None else self.answers.find(request, now)
        if found is None:
            return None
        headers = [header for header in found.headers if header[0] not in _FRAMING]
        age = found.age + int(now - found.at)
        headers.append((b"age", b"%d" % age))
        if has_it_already(request.headers, headers):
            return 304, not_modified(headers), b""
        return 200, [*headers, (b"content-length", b"%d" % len(found.body))], found.body

    def static(self) -> tuple[int, list[Header], bytes] | None:
        """The answer that is always the same."""
        if self.config.body is None:
            return None
        body = self.config.body.encode()
        return self.config.status, [*self._headers, (b"content-length", b"%d" % len(body))], body


def fallbacks_of(config: FallbackConfig | None, previous: Fallbacks | None) -> Fallbacks | None:
    """The fallbacks by a configuration; the *previous* ones, if theirs is the same: they know the last good answers."""
    if config is None or (previous is not None and previous.config == config):
        return None if config is None else previous
    return Fallbacks(config)
