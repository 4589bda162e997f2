"""Messages: what the logger ``resilience`` says on the terminal, written as the access log is, so that nobody waits.

Whoever started the gateway may read its output slowly, or not at all: a collector of logs that hangs, a terminal that
is stopped. Python's own handlers write where something is logged, which is in the event loop: no request would be
answered until somebody reads.
"""

from __future__ import annotations

import logging

from .log_writer import LogWriter, StreamSink


class MessageHandler(logging.Handler):
    """Writes what is logged to a descriptor, from a thread of its own. A message that finds no room is dropped.

    It has no flush(), for which logging would wait at the end of the process: the writer ends with all other ones.

    Attributes:
        writer: Writes the lines.
    """

    def __init__(self, descriptor: int, name: str) -> None:
        """Start nothing yet.

        Args:
            descriptor: Such as that of standard error; a copy of it is kept.
            name: What is written there, for the message about those that were dropped.
        """
        super().__init__()
        self.writer = LogWriter(lambda text: f"{text}\n", StreamSink(descriptor), name=name)

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler."""
        try:
            self.writer.put(self.format(record))
        except Exception:  # noqa: BLE001 - as every handler does
            self.handleError(record)
