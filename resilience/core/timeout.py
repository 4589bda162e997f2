"""Timeout: how long a call may take."""

from __future__ import annotations

import attrs

from .checks import number, strict


@strict
@attrs.frozen
class Timeout:
    """Give up after ``timeout`` seconds; None: never."""

    timeout: float | None = attrs.field(default=1.0, validator=number(above=0, most=86_400.0, optional=True))
