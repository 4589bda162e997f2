"""Exports: what Prometheus and OpenTelemetry have in common."""

from __future__ import annotations

from collections.abc import Sequence

from ..core.outcome import EVENT_NAMES
from .protocols import Source


def events_of(command: Source, totals: Sequence[int]) -> dict[str, int]:
    """The *totals* of a command by the names of its events, those of policies of users' own included."""
    counted = dict(zip(EVENT_NAMES, totals, strict=False))
    for name, number in command.__recorder__.own_events:
        counted[name] = totals[number] if number < len(totals) else 0
    return counted


def as_utf8(name: str) -> str:
    """The name as UTF-8 can carry it: lone surrogates are written out."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")
