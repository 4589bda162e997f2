"""Random messages, read by the page and by a plain sum beside it: each number on the page is what the streams say."""

from __future__ import annotations

import random
from collections import defaultdict
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.messages import EVENTS, Message, OpenPage, resilience
from tests.dashboard.servers import StreamServer

pytestmark = pytest.mark.browser

SHOWN = [event for event in EVENTS if event not in ("collapsed", "emit", "fallback_emit")]
SUMS = ("requests", "errors", "refused", "in_flight", "max_in_flight", "abandoned", "rate")
READ = """() => [...document.querySelectorAll('[data-command]')].map(tile => [tile.dataset.command, tile.dataset.group,
    Object.fromEntries([...tile.querySelectorAll('[data-field]')].map(each => [each.dataset.field, each.dataset.value])),
    tile.dataset.state])"""


def history(seed: int) -> list[Message]:
    rng = random.Random(seed)  # noqa: S311 - reproducible, not secret
    messages = []
    for number in range(12):
        states = [rng.choice(["closed", "open", "half_open", "forced_open", "disabled"])] * 3
        for instance in range(rng.randint(1, 3)):
            counts = {event: rng.choice([0, 0, 1, 7, rng.randint(0, 3000)]) for event in EVENTS}
            message = resilience(
                f"command-{number % 7}", group=f"group-{number % 3}", instance=f"host-{number}-{instance}:1", counts=counts,
                latency=rng.random(), in_flight=rng.randint(0, 50), max_in_flight=rng.randint(50, 90),
                max_concurrent=rng.choice([None, 100]), abandoned=rng.randint(0, 3), state=states[instance], has_fallback=True,
            )  # fmt: skip
            requests = message["errors"] + counts["success"]
            message |= {"requests": requests, "rate": requests / 10, "error_rate": message["errors"] / max(1, requests)}
            messages.append(message)
    return messages


def expected(reports: list[Message]) -> dict[str, Any]:
    """What a reader with a pencil gets: sums, the slowest instance, and a limit only if all have one."""
    numbers: dict[str, Any] = {name: sum(r[name] for r in reports) for name in SUMS}
    numbers |= {event: sum(r["counts"][event] for r in reports) for event in SHOWN}
    numbers["rejected"] = numbers["refused"] - numbers["short_circuited"]
    numbers["error_rate"] = numbers["errors"] / max(1, numbers["requests"])
    numbers |= {name: max(r["latency_s"][name] for r in reports) for name in ("p50", "p90", "p95", "p99", "p995")}
    numbers["mean"] = sum(r["latency_s"]["mean"] * r["requests"] for r in reports) / max(1, numbers["requests"])
    limits = [r["max_concurrent"] for r in reports]
    numbers["max_concurrent"] = "" if None in limits else sum(limits)
    numbers["instances"] = len(reports)
    return numbers


@pytest.mark.parametrize("seed", range(3))
def test_each_number_is_what_the_streams_say(stream: StreamServer, open_page: OpenPage, seed: int) -> None:
    stream.messages = list(history(seed))
    told: dict[tuple[str, str], list[Message]] = defaultdict(list)
    for message in history(seed):
        told[message["key"], message["group"]].append(message)
    page = open_page(stream, viewport={"width": 2000, "height": 3000}, settings={"stale_after": 600.0, "forget_after": 1200.0})
    expect(page.locator("[data-filled=true]")).to_have_count(len(told))
    last = page.locator(f'[data-command="{message["key"]}"][data-group="{message["group"]}"] [data-field="instances"]')
    expect(last).to_have_attribute("data-value", str(len(told[message["key"], message["group"]])))
    expect(page.locator("#show-commands")).to_have_text(str(len(told)))
    for key, group, fields, state in page.evaluate(READ):
        reports = told.pop((key, group))
        states = {report["state"] for report in reports}
        assert state == (states.pop() if len(states) == 1 else "mixed")
        for name, number in expected(reports).items():
            if number == "":
                assert fields[name] == ""
            else:
                assert float(fields[name]) == pytest.approx(number), (key, group, name)
    assert not told
