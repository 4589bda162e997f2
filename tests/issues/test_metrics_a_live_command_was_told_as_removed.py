"""A tick of /resilience.stream is made in slices; who connects meanwhile is told of commands that it does not come by."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

from resilience import Registry, command
from resilience.asgi import Ticker
from resilience.metrics.stream import Encoder


def make(registry: Registry, key: str) -> Any:
    """A command that lives as long as its function."""
    @command(key=key, registry=registry)
    def function() -> int:
        return 1
    return function


def removed(messages: list[str]) -> list[str]:
    return [said["key"] for said in map(json.loads, messages) if said["type"] == "ResilienceRemoved"]


def test_a_command_that_was_made_and_told_during_a_tick_is_not_told_as_removed() -> None:
    registry = Registry()
    kept = [make(registry, key) for key in "ab"]
    encoder = Encoder()
    tick = encoder.messages(registry, 0)
    next(tick)
    kept.append(make(registry, "new"))
    assert len(list(encoder.opening(registry, 0))) == 3
    assert removed(list(tick)) == []
    assert removed(list(encoder.messages(registry, 0))) == []
    registry.remove("new")
    assert removed(list(encoder.messages(registry, 0))) == ["new"]


class Page:
    """What a dashboard shows: the keys of the commands that it was told of."""

    def __init__(self) -> None:
        self.keys, self.deleted = set[str](), list[str]()

    def hear(self, message: str) -> None:
        said = json.loads(message)
        if said["type"] == "ResilienceRemoved":
            self.keys.discard(said["key"])
            self.deleted.append(said["key"])
        else:
            self.keys.add(said["key"])


class History:
    """A stream with listeners that come at any time, and commands that come and go between any two messages."""

    def __init__(self, seed: int) -> None:
        self.random, self.registry, self.encoder = random.Random(seed), Registry(), Encoder()
        self.pages, self.commands, self.openings = list[Page](), dict[str, Any](), list[tuple[Page, Iterator[str]]]()
        self.removals = Counter[str]()

    def step(self) -> None:
        """Something that happens between two messages."""
        kind, key = self.random.random(), self.random.choice("abcdef")
        if kind < 0.15 and key not in self.commands:
            self.commands[key] = make(self.registry, key)
        elif kind < 0.25 and self.commands.pop(key, None) is not None:
            self.registry.remove(key)
            self.removals[key] += 1
        elif kind < 0.35:
            self.pages.append(page := Page())
            self.openings.append((page, self.encoder.opening(self.registry, 0)))
        for opening in list(self.openings):
            for message in opening[1]:
                opening[0].hear(message)
                if self.random.random() < 0.3:
                    break
            else:
                self.openings.remove(opening)

    def tick(self, *, is_quiet: bool = False) -> None:
        listeners, said = list(self.pages), list[str]()
        for message in self.encoder.messages(self.registry, 0):
            said.append(message)
            if not is_quiet:
                self.step()
        for page in listeners:
            for message in said:
                page.hear(message)


def test_every_page_has_the_commands_that_are_there_in_any_history() -> None:
    for seed in range(100):
        history = History(seed)
        forever = make(history.registry, "forever")
        for _ in range(6):
            history.tick()
            history.step()
        while history.openings:
            history.step()
        for _ in range(2):
            history.tick(is_quiet=True)
        for page in history.pages:
            assert page.keys == {*history.commands, "forever"}, seed
            assert Counter(page.deleted) <= history.removals, seed
        assert forever() == 1


def test_who_connects_while_a_tick_is_made_is_not_sent_that_tick() -> None:
    async def scenario() -> None:
        late = list[Any]()

        def messages() -> Iterator[str]:
            yield "{}"
            if not late:
                late.append(ticker.join())

        ticker = Ticker(messages, interval=0.001, ping=b"", max_listeners=5)
        early = ticker.join()
        assert early is not None
        await early.get()
        assert late[0].empty()
        assert await late[0].get() == [b"", b"data: {}\n\n"]
        for each in (early, *late):
            ticker.part(each)

    asyncio.run(scenario())
