"""Our own metrics stream: what Hystrix's has no field for.

One ``ResilienceCommand`` message per command and tick: state with half-open and
forced, refused calls, percentiles in seconds, calls in flight, abandoned ones,
the last transitions. docs/reference/streams.md documents it; the dashboard reads
it, from any number of instances.
"""

from __future__ import annotations

import functools
import json
import os
import socket
from collections.abc import Iterator
from json.encoder import encode_basestring_ascii as _quoted
from typing import Final

from ..core.events import State
from ..core.outcome import EVENT_NAMES
from .history import STEP_SLICES
from .protocols import Source, Sources
from .recorder import BUCKETS, WINDOW_S
from .snapshot import Snapshot


def instance() -> str:
    """This process, as its messages name it."""
    return f"{socket.gethostname()}:{os.getpid()}"


_FORCED: Final = (State.FORCED_OPEN, State.FORCED_CLOSED)
_LATENCIES: Final = ("mean", "p0", "p25", "p50", "p75", "p90", "p95", "p99", "p995", "p100")

_OWN: Final = "<own>"  # where the events of users' policies go
_NUMBERS: Final = (
    '"time_ms":%d,"state":"%s","state_since_s":%s,"forced":%s,"opened_ago_s":%s,"reason":%s,"last_failure":%s,'
    '"retry_after_s":%s,"window_s":%s,'
    '"requests":%d,"errors":%d,"error_rate":%.6f,"rate":%.3f,"refused":%d,"counts":{'
    + ",".join(f'"{name}":%d' for name in EVENT_NAMES) + _OWN
    + '},"latency_s":{'
    + ",".join(f'"{name}":%.6f' for name in _LATENCIES)
    + '},"in_flight":%d,"max_in_flight":%d,"max_concurrent":%s,"abandoned":%d,"timeout_s":%s,"isolation":"%s",'
    '"has_fallback":%s,'
    '"transitions":['
)
_SLICE_S: Final = WINDOW_S / BUCKETS
_UNKNOWN: Final = (None, "")  # the head of a command that no message was made of


@functools.cache
def _numbers(own: tuple[str, ...]) -> str:
    """The part of a message that changes from tick to tick, filled in by %; a third of json.dumps's cost."""
    return _NUMBERS.replace(_OWN, "".join(f',"{name}":%d' for name in own))


class Encoder:
    """Encodes the messages of one stream. Not thread-safe: one per ticker.

    A tick is made in slices, between which new listeners are told what there is: commands, too, that were made after
    the tick had begun, and which it does not come by.
    """

    def __init__(self) -> None:
        self._instance = instance()
        self._heads: dict[str, tuple[str, str]] = {}  # each command's group, and the part that depends on it alone
        self._opened = set[str]()  # commands that new listeners were told of since the last tick began

    def messages(self, registry: Sources, time_ms: int) -> Iterator[str]:
        """One tick: every command, and a word for each that has left; JSON texts."""
        keys, known = set(), set(self._heads)
        self._opened.clear()
        for command in registry:
            keys.add(command.key)
            yield self.command(command, command.snapshot(), time_ms)
        gone = known - keys - self._opened
        for key in gone:
            self._heads.pop(key, None)
        for key in gone:
            yield json.dumps({"type": "ResilienceRemoved", "key": key, "instance": self._instance})

    def opening(self, registry: Sources, time_ms: int) -> Iterator[str]:
        """What one new listener is told first: every command, with what it did in the last two minutes."""
        for command in registry:
            past = command.__recorder__.past(registry.clock())
            message = self.command(command, command.snapshot(), time_ms)
            self._opened.add(command.key)
            if past.requests:
                history = {"step_s": STEP_SLICES * _SLICE_S, "age_s": past.age * _SLICE_S,
                           "requests": past.requests, "errors": past.errors}
                message = f'{message[:-1]},"history":{json.dumps(history, separators=(",", ":"))}}}'
            yield message

    def command(self, command: Source, snapshot: Snapshot, time_ms: int) -> str:
        """A ResilienceCommand message."""
        group, head = self._heads.get(snapshot.key, _UNKNOWN)
        if group != snapshot.group:  # it is new, or another command has the key now
            fixed = {"type": "ResilienceCommand", "key": snapshot.key, "group": snapshot.group,
                     "instance": self._instance}
            head = json.dumps(fixed, separators=(",", ":"))[:-1] + ","
            self._heads[snapshot.key] = snapshot.group, head
        settings, counts, latency = command.settings, snapshot.counts, snapshot.latency
        refused = snapshot.refused
        errors = counts["failure"] + counts["timeout"] + counts["busy"] + refused  # as Snapshot.errors
        requests = counts["success"] + errors
        retry_after = "null" if snapshot.retry_after is None else f"{snapshot.retry_after:.3f}"
        numbers = _numbers(snapshot.custom_rejections) % (
            time_ms, snapshot.state.value, *_why(snapshot), retry_after, snapshot.window,
            requests, errors, errors / requests if requests else 0.0, requests / snapshot.window, refused,
            *counts.values(),
            latency.mean, latency.p0, latency.p25, latency.p50, latency.p75, latency.p90, latency.p95, latency.p99,
            latency.p995, latency.p100,
            snapshot.in_flight, snapshot.max_in_flight, _or_null(snapshot.max_concurrent), snapshot.abandoned,
            _or_null(settings.timeout), settings.isolation,
            "true" if settings.has_fallback else "false",
        )
        transitions = ",".join(
            f'{{"term":{event.term},"from":"{event.old}","to":"{event.new}","trigger":"{event.trigger}",'
            f'"age_s":{snapshot.at - event.at:.3f}}}'
            for event in snapshot.transitions)
        gauges = f',"gauges":{json.dumps(dict(snapshot.gauges))}' if snapshot.gauges else ""
        shadow = f',"shadow":{json.dumps(settings.shadow)}' if settings.shadow else ""
        sum_ = ',"sum":true' if command.__recorder__.is_sum else ""
        return f"{head}{numbers}{transitions}]{gauges}{shadow}{sum_}}}"


def _why(snapshot: Snapshot) -> tuple[str, str, str, str, str]:
    """Since when it is in its state, whether an operator said so, when and why it opened, and what failed last."""
    failure, at = snapshot.last_failure, snapshot.at
    return (
        _ago(snapshot.state_since, at), "true" if snapshot.state in _FORCED else "false", _ago(snapshot.opened_at, at),
        "null" if snapshot.reason is None else _quoted(snapshot.reason),
        "null" if failure is None else f'{{"type":{_quoted(failure.type)},"message":{_quoted(failure.message)},'
                                       f'"ago_s":{_ago(failure.at, at)},"count":{failure.count}}}',
    )


def _ago(then: float | None, now: float) -> str:
    return "null" if then is None else f"{max(0.0, now - then):.3f}"


def _or_null(value: float | None) -> str:
    return "null" if value is None else repr(value)
