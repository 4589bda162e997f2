"""Access log: which requests are logged, and what is kept of each until its line is written.

What a request holds (its connection, its headers, a path of any length) is not kept: what waits to be written has
copies of bounded length of what its line will say. The line itself is made in the writer's thread.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from ..config.observing import AccessLogSettings
from ..messages.inbound import RequestHead
from .entry import FORMATS, MAX_FIELD, cut
from .log_writer import FileSink, LogWriter, Sink, StreamSink
from .observed_request import ObservedRequest
from .redaction import QueryRedactor

_STREAMS: Final = {"stdout": 1, "stderr": 2}
_MAX_METHOD: Final = 64  # characters


def sink_of(to: str) -> Sink:
    """Where ``to`` says that lines go."""
    return StreamSink(_STREAMS[to]) if to in _STREAMS else FileSink(to)


class AccessLog:
    """The access log of a gateway. For one event loop.

    Attributes:
        writer: Writes the lines.
    """

    def __init__(self, settings: AccessLogSettings, sink: Sink | None = None,
                 chance: Callable[[], float] = random.random) -> None:
        """Start nothing yet.

        Args:
            settings: What is logged, and where.
            sink: Where lines go; None: as the settings say.
            chance: Returns numbers in [0, 1).
        """
        self._sample, self._chance = settings.sample, chance
        names = {name.lower() for name in settings.headers}
        if settings.format == "combined":
            names |= {"referer", "user-agent"}
        self._headers = {name.encode(): name for name in names}
        line, redacted = FORMATS[settings.format], QueryRedactor(settings.redact)
        self.writer = LogWriter(lambda observed: line(observed, redacted),
                                sink_of(settings.to) if sink is None else sink, max_queue=settings.max_queue)

    def wants(self, observed: ObservedRequest) -> bool:
        """Whether a request that is over is logged: each that failed, and of the others a share."""
        return self._sample >= 1.0 or not observed.complete or observed.status >= 400 or self._chance() < self._sample

    def put(self, observed: ObservedRequest) -> None:
        """Log a request that is over."""
        head, kept = observed.head, self._headers
        if kept:
            observed.logged = [(kept[name], cut(value)) for name, value in head.headers if name in kept]
        path, query = head.path, head.query
        if len(path) > MAX_FIELD or len(query) > MAX_FIELD or len(head.method) > _MAX_METHOD:
            path, query = cut(path), cut(query)
        observed.released(
            RequestHead(head.method[:_MAX_METHOD], path, query, head.version, head.scheme, (), None, None))
        self.writer.put(observed)

    def reopen(self) -> None:
        """Write to the file that has the log's name now, if it is one."""
        self.writer.reopen()

    def close(self, patience_s: float = 0.0) -> None:
        """Have what waits written, and wait for that so many seconds at most."""
        self.writer.close(patience_s)
