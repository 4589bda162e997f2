"""The reader of event streams, beside a plain one that has the whole text at once."""

from __future__ import annotations

import random

from resilience.gateway.messages.event_stream import EventStreamReader, ServerSentEvent
from tests.seeds import over_seeds

MOST = 40
LINES = ("", "", "data: a", "data:b", "data", "data:  c", "event: x", "event", "id: 1", ": ping", "retry: 5", "nonsense",
         "data: " + "l" * MOST, "d" * (2 * MOST), "data: " + "m" * (MOST // 2),
         "data: " + "n" * (MOST - 1), "event: " + "o" * MOST, "event:" + "p" * (MOST + 1))


def plain(text: str) -> list[ServerSentEvent]:
    """The events of a whole *text*, as the standard has it."""
    found, name, data = [], "", list[str]()
    *lines, _ = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for line in lines:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data and sum(len(each) + 1 for each in data) <= MOST:
                found.append(ServerSentEvent(name or "message", "\n".join(data).encode()))
            name, data = "", []
        elif field == "event" and len(value) <= MOST:
            name = value
        elif field == "data":
            data.append(value)
    return found


@over_seeds(300)
def test_the_events_are_the_same_however_the_stream_is_cut(seed: int) -> None:
    dice = random.Random(seed)
    text = dice.choice(("", "\ufeff")) + "".join(
        dice.choice(LINES) + dice.choice(("\n", "\r\n", "\r")) for _ in range(dice.randrange(30)))
    whole, reader, seen = text.encode(), EventStreamReader(MOST), list[ServerSentEvent]()
    while whole:
        size = dice.choice((0, 1, 2, 5, 100))
        seen += reader.events(whole[:size])
        whole = whole[size:]
        assert len(reader._rest) + sum(map(len, reader._data)) <= 3 * MOST
    assert plain(text) == seen
