"""Timeout: how long a call may take."""

from __future__ import annotations

import attrs

from .checks import number, strict


@strict
@attrs.frozen
class Timeout:
    """Timeout policy: ends the wait for a call that takes too long with CallTimeoutError.

    A coroutine is cancelled. A plain function runs on in its worker thread while its caller goes on. Immutable: any
    number of commands and threads may share one.

    Attributes:
        timeout: Seconds that a call may take; None: no limit. For an async generator it limits the wait for each item.
    """

    timeout: float | None = attrs.field(default=1.0, validator=number(above=0, most=86_400.0, optional=True))
