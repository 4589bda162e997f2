"""Directs the demo of a fleet: cues to its processes, requests through its gateways, the story to the terminal."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import Any

from .fleet_clients import LIMITED_RATE, RATE, FleetClients
from .fleet_script import GATEWAYS, LIMIT, REDIS, Script
from .fleet_stage import FleetStage
from .fleet_story import FleetStory
from .stage import StageError


def run(*, gateway_port: int, admin_port: int, registry_port: int, duration: float | None) -> int:
    """Run the demo until interrupted, or for *duration* seconds; returns the exit status."""
    try:
        return asyncio.run(_run(gateway_port, admin_port, registry_port, duration))
    except StageError as error:
        print(f"resilience demo: {error}", file=sys.stderr)
        return 1


async def _run(gateway_port: int, admin_port: int, registry_port: int, duration: float | None) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    stage = FleetStage(gateway_port=gateway_port, admin_port=admin_port, registry_port=registry_port)
    try:
        starting, stopping = asyncio.ensure_future(stage.start()), asyncio.ensure_future(stop.wait())
        await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        await starting
        if not stop.is_set():
            _greet(stage, registry_port)
            await _play(stage, stop, duration)
    finally:
        await stage.end()
    return 0


def _greet(stage: FleetStage, registry_port: int) -> None:
    rows = [(name, f"{stage.gateways[name]}/inventory/   dashboard {stage.admins[name]}/") for name in GATEWAYS]
    rows.append(("registry", f"http://127.0.0.1:{registry_port}/"))
    rows.append(("Redis", f"keeps one limit of {LIMIT} requests/s, for the {LIMITED_RATE:g} requests/s to /limited/"
                 if stage.has_redis else
                 "there is no redis-server on this machine, and so no limit that the gateways share"))
    rows.append(("files", f"{stage.folder}"))
    rows.append(("traffic", f"{RATE:g} requests/s to the three gateways in turn. Ctrl-C ends the demo."))
    print("\n".join(f"{name:<12}{text}" for name, text in rows) + "\n", flush=True)


async def _play(stage: FleetStage, stop: asyncio.Event, duration: float | None) -> None:
    clients = FleetClients([*stage.gateways.values()], has_limit=stage.has_redis)
    story = FleetStory(clients, has_redis=stage.has_redis)
    traffic = asyncio.ensure_future(clients.run())
    stopping = asyncio.ensure_future(stop.wait())
    try:
        script, shown = Script(), 0.0
        while not stop.is_set() and (duration is None or story.elapsed < duration):
            now = story.elapsed
            cue = script.next(now, is_busy=stage.is_busy)
            if cue is not None and (cue.program != REDIS or stage.has_redis):
                stage.do(cue)
                story.cue(cue)
            stage.look()
            story.look()
            if now - shown >= (1.0 if sys.stdout.isatty() else 5.0):
                story.pulse(stage.runs)
                shown = now
            watched: list[asyncio.Future[Any]] = [stopping, traffic]
            await asyncio.wait(watched, timeout=0.1, return_when=asyncio.FIRST_COMPLETED)
            if traffic.done():
                traffic.result()
    finally:
        for task in (stopping, traffic):
            task.cancel()
        await asyncio.gather(stopping, traffic, return_exceptions=True)
    story.summary()
