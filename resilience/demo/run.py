"""Directs the demo: cues to the services, traffic through the gateway, the story to the terminal."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import Any

from .client import Client
from .script import SERVICES, cues_between
from .stage import Stage, StageError
from .story import Story, data_lines
from .traffic import RATE, Traffic


def run(*, gateway_port: int, private_port: int, admin_port: int, registry_port: int,
        duration: float | None) -> int:
    """Run the demo until interrupted, or for *duration* seconds; returns the exit status."""
    try:
        return asyncio.run(_run(gateway_port, private_port, admin_port, registry_port, duration))
    except StageError as error:
        print(f"resilience demo: {error}", file=sys.stderr)
        return 1


async def _run(gateway_port: int, private_port: int, admin_port: int, registry_port: int,
               duration: float | None) -> int:
    stage, stop = Stage(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        config = await stage.start(SERVICES, gateway_port=gateway_port, private_port=private_port,
                                   admin_port=admin_port, registry_port=registry_port)
        if stop.is_set():
            return 0
        public, private, admin = (f"http://127.0.0.1:{port}" for port in (gateway_port, private_port, admin_port))
        bases = {service.name: private if service.private else public for service in SERVICES}
        urls = {side: "  ".join(f"{side}/{name}/" for name, base in bases.items() if base == side)
                for side in (public, private)}
        print(f"Dashboard   {admin}/\nGateway     {urls[public]}\nPrivate     {urls[private]}\n"
              f"Streams     {admin}/hystrix.stream  {admin}/resilience.stream\nMetrics     {admin}/metrics\n"
              f"Registry    http://127.0.0.1:{registry_port}/  (where the gateway finds the services)\n"
              f"Its config  {config}\nTraffic     {RATE:g} requests/s to each service. Ctrl-C ends the demo.\n",
              flush=True)
        await _play(stage, stop, Traffic(bases), admin, duration)
    finally:
        await stage.end()
    return 0


async def _play(stage: Stage, stop: asyncio.Event, traffic: Traffic, admin: str, duration: float | None) -> None:
    story = Story(SERVICES, traffic.routes, stage.commands)
    tasks: list[asyncio.Task[None]] = [
        asyncio.create_task(traffic.run()), asyncio.create_task(_listen(story, f"{admin}/resilience.stream")),
        asyncio.create_task(_watch_gateway(stage))]
    stopping = asyncio.create_task(stop.wait())
    try:
        told = 0.0
        shown = 0.0
        while not stop.is_set() and (duration is None or story.elapsed < duration):
            now = story.elapsed
            for cue in cues_between(told, now):
                stage.order(cue.program, cue.mood)
                story.cue(cue)
            told = now
            story.look()
            if now - shown >= (1.0 if sys.stdout.isatty() else 5.0):
                story.pulse()
                shown = now
            watched: list[asyncio.Task[Any]] = [stopping, *tasks]
            await asyncio.wait(watched, timeout=0.1, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
    finally:
        stopping.cancel()
        for task in tasks:
            task.cancel()
        await asyncio.gather(stopping, *tasks, return_exceptions=True)
    story.summary()


async def _listen(story: Story, url: str) -> None:
    rest = b""
    async for chunk in Client().stream(url):
        head, _, rest = (rest + chunk).rpartition(b"\n")
        for event in data_lines([head]):
            story.hear(event)
    raise StageError("the gateway closed its metrics stream")


async def _watch_gateway(stage: Stage) -> None:
    assert stage.gateway is not None
    status = await stage.gateway.wait()
    raise StageError(f"the gateway ended with status {status}")
