"""Registration: a thread that registers, renews and leaves; whatever a registry, a health check, a fork or an exit does to it."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from resilience import ConfigError
from resilience.discovery import EurekaRegistrar, EurekaServers, EurekaSource, InstanceStatus, Registrant, Registration
from resilience.discovery.http_client import HttpClientError
from tests.drivers.until import until
from tests.forked import forked

from .recorded_eureka import RecordedEureka, serving
from .registry.harness import RegistryWithoutFile

STARTING, UP, DOWN = InstanceStatus.STARTING, InstanceStatus.UP, InstanceStatus.DOWN
ORDERS = Registrant("orders", "10.0.0.1", 8080, zone="b", weight=2.0, metadata={"version": "7"})
NAME = "10.0.0.1:orders:8080"
ROOT = Path(__file__).parents[2]


class Scripted:
    """A registrar that notes what it is asked, and does what it is told."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.does: Callable[[str], Any] = lambda _: None
        self.changed = threading.Condition()

    def __repr__(self) -> str:
        return "a script"

    def register(self, registrant: Registrant, status: InstanceStatus, lease_s: float, timeout_s: float) -> None:
        self._note(f"register {status.value}")

    def renew(self, registrant: Registrant, status: InstanceStatus, lease_s: float, timeout_s: float) -> bool:
        return self._note(f"renew {status.value}") is not False

    def leave(self, registrant: Registrant, timeout_s: float) -> None:
        self._note("leave")

    def _note(self, what: str) -> Any:
        with self.changed:
            self.asked.append(what)
            self.changed.notify_all()
        said = self.does(what)
        if isinstance(said, BaseException):
            raise said
        return said

    def wait(self, number: int) -> list[str]:
        """What it was asked, as soon as that is so many things."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.asked) >= number, 60), self.asked
            return list(self.asked)


def registration(registrar: Any, **said: Any) -> Registration:
    return Registration(ORDERS, registrar, **{"lease": 900.0, "leave_timeout": 30.0, **said})


def test_an_instance_registers_renews_changes_its_status_and_leaves_a_recorded_eureka() -> None:
    with serving(RecordedEureka()) as eureka:
        with registration(eureka.url, status=STARTING, lease=0.3) as mine:
            eureka.wait(lambda: eureka.statuses() == {NAME: "STARTING"})
            mine.set_status(UP)
            eureka.wait(lambda: eureka.statuses() == {NAME: "UP"})
            eureka.wait(lambda: f"PUT /eureka/apps/ORDERS/{NAME}" in eureka.verbs())
            said = eureka.instances["ORDERS", NAME]
            assert ("10.0.0.1", {"$": 8080, "@enabled": "true"}, {"$": 443, "@enabled": "false"}) == (
                said["ipAddr"], said["port"], said["securePort"])
            assert {"version": "7", "zone": "b", "weight": "2"} == said["metadata"]
            assert mine.wait(60)
            assert ("", UP, True) == (mine.trouble, mine.status, mine.is_registered)
            mine.set_status(InstanceStatus.OUT_OF_SERVICE)
            eureka.wait(lambda: eureka.statuses() == {NAME: "OUT_OF_SERVICE"})
        assert {} == eureka.statuses()
        assert ["POST /eureka/apps/ORDERS", f"DELETE /eureka/apps/ORDERS/{NAME}"] == eureka.verbs()[-2:]
        assert "DOWN" == eureka.changes[-2][1]["status"], "whoever reads deltas hears that it is down first"


async def test_our_client_fetches_what_is_registered_and_follows_the_deltas_of_a_recorded_eureka() -> None:
    with serving(RecordedEureka()) as eureka:
        source = EurekaSource("orders", EurekaServers(eureka.url).get)
        async with registration(eureka.url) as mine:
            assert await asyncio.to_thread(mine.wait, 60)
            (one,) = (await source.listing()).instances
            assert ("http://10.0.0.1:8080", "b", 2.0) == (one.url, one.zone, one.weight)
            async with Registration(Registrant("orders", "10.0.0.2", 80, instance_id="a/b c"), eureka.url) as other:
                assert await asyncio.to_thread(other.wait, 60)
                assert ["http://10.0.0.1:8080", "http://10.0.0.2:80"] == [each.url for each in (await source.listing()).instances]
                other.set_status(DOWN)
                await asyncio.to_thread(eureka.wait, lambda: eureka.statuses()["a/b c"] == "DOWN")
                assert 1 == len((await source.listing()).instances)
            assert 1 == len((await source.listing()).instances)
        assert () == (await source.listing()).instances
    assert 1 == eureka.verbs().count("GET /eureka/apps")
    assert 4 == eureka.verbs().count("GET /eureka/apps/delta")


def test_a_registry_that_restarts_has_the_instance_again_at_the_next_renewal() -> None:
    with serving(RecordedEureka()) as eureka, registration(eureka.url, lease=0.3):
        eureka.wait(lambda: eureka.statuses() == {NAME: "UP"})
        eureka.forget()
        eureka.wait(lambda: eureka.statuses() == {NAME: "UP"})


def test_a_registry_that_is_away_at_the_start_is_registered_with_when_it_is_there_and_told_of_once(
        caplog: pytest.LogCaptureFixture) -> None:
    with serving(RecordedEureka()) as eureka:
        eureka.is_away = True
        with registration(eureka.url, lease=0.3) as mine:
            eureka.wait(lambda: len(eureka.asked) > 5)
            assert (False, False) == (mine.wait(0), mine.is_registered)
            assert f"127.0.0.1:{eureka.port}: HTTP status 503 (Service Unavailable)" == mine.trouble
            eureka.is_away = False
            assert mine.wait(60)
    told = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    assert [f"{NAME}: cannot be registered with Eureka at {eureka.url}, and goes on trying: 127.0.0.1:{eureka.port}: "
            "HTTP status 503 (Service Unavailable)", f"{NAME}: Eureka at {eureka.url} answers again"] == told


def test_several_registries_are_asked_in_turn_and_the_one_that_answered_first() -> None:
    with serving(RecordedEureka()) as one, serving(RecordedEureka()) as two:
        one.is_away = True
        with registration([one.url, two.url], lease=0.3) as mine:
            two.wait(lambda: len(two.asked) > 3)
            assert (1, {NAME: "UP"}) == (len(one.asked), two.statuses())
            one.is_away, two.is_away = False, True
            one.wait(lambda: one.statuses() == {NAME: "UP"})
            assert mine.wait(60)
        assert {} == one.statuses()


def test_credentials_are_sent_and_never_shown() -> None:
    with serving(RecordedEureka()) as eureka:
        url = eureka.url.replace("//", "//any:s%3Acret@")
        with registration(url) as mine:
            eureka.wait(lambda: eureka.statuses() == {NAME: "UP"})
            assert "cret" not in repr(mine)
        assert {"Basic YW55OnM6Y3JldA=="} == eureka.authorizations
        eureka.authorizations.clear()
        EurekaServers(eureka.url, headers={"Authorization": "Bearer x"}).ask("GET", "/apps", (HTTPStatus.OK,))
        assert {"Bearer x"} == eureka.authorizations
        eureka.is_away = True
        with pytest.raises(HttpClientError) as caught:
            EurekaServers(url).ask("GET", "/apps", (HTTPStatus.OK,))
        assert "cret" not in f"{caught.value}"


@pytest.mark.process
def test_an_instance_registers_renews_and_leaves_the_registry_of_this_project() -> None:
    registry = RegistryWithoutFile()
    try:
        with Registration(Registrant("orders", "127.0.0.1", 8080), f"{registry.url}/eureka") as mine:
            assert mine.wait(60)
            assert mine.registrar.renew(mine.registrant, UP, 90.0, 30.0)
            assert b'"status":"UP"' in registry.ask("GET", "/eureka/apps/ORDERS", headers={"Accept": "application/json"})[1].replace(b" ", b"")
        assert 404 == registry.ask("GET", "/eureka/apps/ORDERS")[0]
        assert not mine.registrar.renew(mine.registrant, UP, 90.0, 30.0)
    finally:
        registry.stop()


def test_whatever_a_registrar_raises_the_thread_goes_on() -> None:
    registrar = Scripted()
    says = iter([OSError("no"), SystemExit(3), ValueError(), None, KeyboardInterrupt(), False, None])
    registrar.does = lambda what: next(says, None)
    with registration(registrar, lease=0.15):
        assert ["register UP"] * 4 + ["renew UP"] * 2 + ["register UP"] == registrar.wait(7)[:7]
    assert "leave" == registrar.asked[-1]


def test_an_instance_is_down_while_it_is_not_healthy_and_what_was_set_counts_more(caplog: pytest.LogCaptureFixture) -> None:
    registrar = Scripted()
    health: list[Any] = [True, False, ZeroDivisionError("x"), True]

    def is_healthy() -> Any:
        said = health.pop(0) if len(health) > 1 else health[0]
        if isinstance(said, Exception):
            raise said
        return said

    with registration(registrar, lease=0.15, health=is_healthy) as mine:
        assert ["register UP", "register DOWN", "renew DOWN", "register UP", "renew UP"] == registrar.wait(5)[:5]
        health[:] = [False]
        until(lambda: mine.status is DOWN)
        mine.set_status(STARTING)
        until(lambda: "register STARTING" in registrar.asked)
        assert STARTING is mine.status
        mine.set_status(UP)
        assert DOWN is mine.status
    assert 1 <= sum("DOWN, for it is not healthy: it says so" in each.getMessage() for each in caplog.records) <= 2


def test_leaving_waits_no_longer_than_it_may_for_a_registry_that_hangs(caplog: pytest.LogCaptureFixture) -> None:
    registrar, go_on = Scripted(), threading.Event()
    registrar.does = lambda _: go_on.wait(60) and None
    mine = registration(registrar, leave_timeout=0.05)
    mine.start()
    registrar.wait(1)
    mine.leave()
    assert f"{NAME}: a script does not answer; it may list the instance until the lease is over" in caplog.messages
    mine.leave()
    go_on.set()
    assert ["register UP", "register DOWN", "leave"] == registrar.wait(3), "and yet it leaves, if the process lasts"


def test_it_may_begin_again_and_what_was_begun_twice_is_one() -> None:
    registrar = Scripted()
    mine = registration(registrar)
    assert (False, "") == (mine.wait(0), mine.trouble)
    mine.leave()
    mine.set_status(DOWN)
    for _ in range(2):
        mine.start()
        mine.start()
        assert mine.wait(60)
        mine.leave()
    assert ["register UP", "register DOWN", "leave"] * 2 == registrar.asked


def test_a_status_may_be_set_from_a_health_check_and_it_may_leave_from_there() -> None:
    registrar, mine = Scripted(), None

    def health() -> bool:
        assert mine is not None
        mine.leave()
        return True

    mine = registration(registrar, health=health)
    mine.start()
    until(lambda: "leave" in registrar.asked)


async def test_it_leaves_even_if_whoever_waits_for_that_is_cancelled() -> None:
    registrar, go_on = Scripted(), threading.Event()
    mine = registration(registrar)

    async def serve() -> None:
        async with mine:
            await asyncio.Event().wait()

    task = asyncio.ensure_future(serve())
    await asyncio.to_thread(registrar.wait, 1)
    registrar.does = lambda _: go_on.wait(60) and None
    for _ in range(2):
        await asyncio.sleep(0)
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()
    assert "leave" == (await asyncio.to_thread(registrar.wait, 3))[-1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_neither_renews_nor_leaves_and_may_have_a_lease_of_its_own() -> None:
    registrar = Scripted()
    with registration(registrar) as mine:
        mine.wait(60)

        def in_child() -> None:
            mine.leave()
            assert not mine.is_registered
            assert ["register UP"] == registrar.asked
            with mine:
                assert mine.wait(60)
            assert ["register UP", "register UP", "register DOWN", "leave"] == registrar.asked

        assert 0 == forked(in_child)
        assert mine.is_registered
        assert ["register UP"] == registrar.asked


@pytest.mark.parametrize(("wrong", "option"), [
    ({"lease": 0}, "lease"), ({"timeout": "x"}, "timeout"), ({"leave_timeout": -1}, "leave_timeout"), ({"health": 3}, "health"),
    ({"registry": 3}, "registry"), ({"registry": "ftp://x"}, ""), ({"registry": []}, "urls"), ({"registry": "redis://"}, "")])
def test_a_mistake_is_told_of_before_anything_is_registered(wrong: dict[str, Any], option: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Registration(ORDERS, **{"registry": "http://localhost:8761/eureka", **wrong})
    assert option in (caught.value.option or "")


def test_a_coroutine_function_is_no_health_check() -> None:
    async def health() -> bool:
        return True

    with pytest.raises(ConfigError, match="plain function"):
        Registration(ORDERS, "http://localhost:8761/eureka", health=health)


@pytest.mark.parametrize("said", [
    {"host": "a b"}, {"port": 0}, {"port": True}, {"app": ""}, {"metadata": {"a": 1}}, {"weight": -1}, {"zone": "x" * 300}])
def test_an_instance_that_no_source_could_list_is_a_mistake(said: dict[str, Any]) -> None:
    with pytest.raises((ConfigError, TypeError)):
        Registrant(**{"app": "orders", "host": "10.0.0.1", "port": 8080, **said})


@pytest.mark.parametrize(("end", "verbs"), [
    ("", ["POST /eureka/apps/ORDERS", f"DELETE /eureka/apps/ORDERS/{NAME}"]),
    ("sys.exit(0)", ["POST /eureka/apps/ORDERS", f"DELETE /eureka/apps/ORDERS/{NAME}"]),
    ("os._exit(0)", ["POST /eureka/apps/ORDERS"])])
@pytest.mark.process
def test_a_process_that_ends_without_leaving_does_so_at_its_exit_and_is_not_kept_alive(end: str, verbs: list[str]) -> None:
    with serving(RecordedEureka()) as eureka:
        program = f"""
import os, sys
from resilience.discovery import Registrant, Registration
mine = Registration(Registrant("orders", "10.0.0.1", 8080), {eureka.url!r})
mine.start()
assert mine.wait(60)
{end}
"""
        subprocess.run([sys.executable, "-X", "dev", "-W", "error", "-c", program], cwd=ROOT, check=True, timeout=60)
        assert verbs == eureka.verbs()[-2:]
        assert eureka.statuses() == ({NAME: "UP"} if len(verbs) == 1 else {})


@pytest.mark.process
def test_a_registry_that_hangs_does_not_keep_a_process_alive() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        program = f"""
from resilience.discovery import Registrant, Registration
mine = Registration(Registrant("orders", "10.0.0.1", 8080), "http://127.0.0.1:{silent.getsockname()[1]}/eureka",
                    timeout=1000.0, leave_timeout=0.1)
mine.start()
"""
        subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=60)


def test_timestamps_of_registrations_grow_whatever_the_wall_clock_does() -> None:
    with serving(RecordedEureka()) as eureka:
        times = iter([1000.0, 500.0, 500.0])
        registrar = EurekaRegistrar(eureka.url, wall_clock=lambda: next(times))
        for status in (STARTING, UP, DOWN):
            registrar.register(ORDERS, status, 90.0, 30.0)
            assert {NAME: status.value} == eureka.statuses()
        assert "1000002" == eureka.instances["ORDERS", NAME]["lastDirtyTimestamp"]


def test_a_status_may_be_said_in_a_word_and_one_that_there_is_not_is_a_mistake_at_once() -> None:
    registrar = Scripted()
    mine = registration(registrar)
    with pytest.raises(ValueError, match="BUSY"):
        mine.start("BUSY")  # type: ignore[arg-type]
    mine.start("STARTING")  # type: ignore[arg-type]
    assert mine.wait(60)
    with pytest.raises(ValueError, match="BUSY"):
        mine.set_status("BUSY")  # type: ignore[arg-type]
    mine.set_status("DOWN")  # type: ignore[arg-type]
    assert ["register STARTING", "register DOWN"] == registrar.wait(2)
    assert mine.status is DOWN
    mine.leave()
