"""The supervised gateway, as the command line runs it: workers that die, signals, readiness, and one admin port."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from resilience import Registry
from resilience.config import Document
from resilience.errors import ConfigError
from resilience.gateway import Gateway as EmbeddedGateway
from resilience.gateway.config import read
from resilience.gateway.listeners import Listeners
from resilience.gateway.supervision.all_workers import _later, distribute
from resilience.gateway.supervision.channel import Channel
from resilience.gateway.supervision.configuration_file import ConfigurationFile
from resilience.gateway.supervision.supervisor import Supervisor
from resilience.gateway.supervision.worker import Answers, RefusedError
from resilience.gateway.supervision.worker_process import WorkerGoneError, WorkerRefusedError, WorkerSilentError

from .harness import Call, Gateway, Upstream, eventually, everything, free_port, parsed, running

pytestmark = pytest.mark.process

CONFIG = '\n[services.up]\nendpoints = ["{url}"]\n[[routes]]\npath = "/*"\nservice = "up"\n'


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    """A gateway with two workers. Its file is a test's to change."""
    with running(tmp_path_factory.mktemp("pair"), CONFIG.format(url=upstream.url), workers=2) as made:
        yield made


def is_alive(pid: int) -> bool:
    """Whether there is such a process, which is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def ready(gateway: Gateway) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{gateway.admin}/ready", timeout=5) as reply:
            return reply.status, json.loads(reply.read())["status"]
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())["status"]


def up(gateway: Gateway) -> int:
    """How many workers listen."""
    with urllib.request.urlopen(f"http://127.0.0.1:{gateway.admin}/metrics", timeout=5) as reply:
        return len(re.findall(r'^resilience_gateway_worker_up{[^}]*} 1\.0$', reply.read().decode(), re.M))


def test_a_killed_worker_is_replaced_while_the_others_serve(pair: Gateway) -> None:
    eventually(lambda: up(pair) == 2)
    before, stop, answers = pair.workers(), threading.Event(), list[int]()

    def client() -> None:
        while not stop.is_set():
            try:
                answers.append(pair.get("/load")[0])
            except (OSError, IndexError, ValueError):  # the killed worker had it
                answers.append(0)

    clients = [threading.Thread(target=client) for _ in range(4)]
    for each in clients:
        each.start()
    eventually(lambda: len(answers) > 40)
    os.kill(before[0], signal.SIGKILL)
    eventually(lambda: len(pair.workers()) == 2 and before[0] not in pair.workers() and up(pair) == 2, "a new worker")
    stop.set()
    for each in clients:
        each.join()
    assert {200, 0} >= set(answers)
    assert answers.count(0) <= 2 * len(clients), "only what was under way in the killed worker"
    assert before[1] in pair.workers()
    assert 200 == eventually(lambda: pair.get("/after")[0])
    assert 1 <= int(float(re.search(r'^resilience_gateway_worker_restarts_total{worker="1"} (.*)$',  # type: ignore[union-attr]
                                    pair.admin_get("/metrics"), re.M).group(1)))
    assert (200, "ready") == ready(pair)


def test_one_admin_port_shows_the_sum_over_all_workers_and_it_never_falls(pair: Gateway, upstream: Upstream) -> None:
    def by_route() -> int:
        return sum(int(float(found)) for found in re.findall(
            r"^resilience_gateway_requests_total{.*} (.*)$", pair.admin_get("/metrics"), re.M))

    before, requests = pair.metric("success"), by_route()
    for _ in range(30):
        assert 200 == pair.get("/counted")[0]
    eventually(lambda: by_route() == requests + 30, "every request counted by its route")
    eventually(lambda: pair.metric("success") == before + 30, "every call counted")
    os.kill(pair.workers()[0], signal.SIGKILL)
    assert pair.metric("success") >= before + 30
    eventually(lambda: len(pair.workers()) == 2 and up(pair) == 2, "a new worker")
    assert pair.metric("success") >= before + 30
    assert by_route() >= requests + 30


def test_sighup_reloads_in_every_worker_and_a_bad_file_changes_nothing(pair: Gateway) -> None:
    good = pair.file.read_text()

    def reloads(result: str) -> float:
        found = re.search(rf'^resilience_gateway_reloads_total{{result="{result}"}} (.*)$', pair.admin_get("/metrics"), re.M)
        assert found is not None
        return float(found.group(1))

    pair.file.write_text(good.replace('path = "/*"', 'path = "/new/*"'))
    pair.process.send_signal(signal.SIGHUP)
    eventually(lambda: reloads("applied") == 1)
    assert [404] * 12 == [pair.get("/old")[0] for _ in range(12)]
    assert 200 == pair.get("/new/x")[0]
    pair.file.write_text(good.replace('service = "up"', 'service = "nobody"'))
    pair.process.send_signal(signal.SIGHUP)
    eventually(lambda: reloads("rejected") == 1)
    assert 200 == pair.get("/new/x")[0]
    pair.file.write_text(good.replace(f":{pair.port}", f":{free_port()}"))
    pair.process.send_signal(signal.SIGHUP)
    eventually(lambda: reloads("rejected") == 2)
    pair.file.write_text(good)
    pair.process.send_signal(signal.SIGHUP)
    eventually(lambda: reloads("applied") == 2)
    assert [200] * 12 == [pair.get("/old")[0] for _ in range(12)]


def test_a_request_under_way_outlives_a_reload(pair: Gateway, upstream: Upstream) -> None:
    finish = threading.Event()

    def slow(call: Call) -> None:
        finish.wait(5)
        call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")

    upstream.on("/under-way", slow)
    good = pair.file.read_text()
    with pair.connect() as client:
        client.sendall(b"GET /under-way HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n")
        upstream.called("/under-way")
        pair.file.write_text(good.replace("[services.up]", "[services.other]").replace('"up"', '"other"'))
        pair.process.send_signal(signal.SIGHUP)
        eventually(lambda: 'command="other"' in pair.admin_get("/metrics"))
        finish.set()
        assert (200, b"done") == parsed(everything(client))[::2]
    eventually(lambda: 'command="up"' not in pair.admin_get("/metrics"), "the removed service forgotten")
    pair.file.write_text(good)
    pair.process.send_signal(signal.SIGHUP)
    eventually(lambda: 'command="up"' in pair.admin_get("/metrics"))


def test_workers_end_when_their_supervisor_is_killed(tmp_path: Path, upstream: Upstream) -> None:
    gateway = Gateway(tmp_path, CONFIG.format(url=upstream.url), workers=2)
    workers = gateway.workers()
    gateway.process.kill()
    gateway.process.communicate()
    eventually(lambda: not any(map(is_alive, workers)), "the end of the workers")


def test_a_worker_that_dies_at_the_first_start_ends_all_with_a_message(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\nif 'resilience.gateway.supervision.worker' in ' '.join(sys.orig_argv): os._exit(3)\n")
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(tmp_path)
    try:
        with pytest.raises(AssertionError, match=r"cannot start: worker 1 \(process \d+\) exited with status 3") as failed:
            Gateway(tmp_path, CONFIG.format(url="http://127.0.0.1:9"), workers=1)
    finally:
        os.environ.pop("PYTHONPATH") if before is None else os.environ.update(PYTHONPATH=before)
    assert "Traceback" not in str(failed.value)


def test_in_its_lame_duck_phase_it_serves_is_not_ready_and_asks_clients_to_go_elsewhere(tmp_path: Path, upstream: Upstream) -> None:
    config = CONFIG.format(url=upstream.url).replace("\n[services", "\n[process]\nlame_duck = 60.0\n[services", 1)
    with running(tmp_path, config, workers=1) as gateway:
        assert (200, "ready") == ready(gateway)
        gateway.process.send_signal(signal.SIGTERM)
        eventually(lambda: ready(gateway) == (503, "stopping"))
        assert "ok" in gateway.admin_get("/health")
        eventually(lambda: b"connection: close" in gateway.raw(
            b"GET /still HTTP/1.1\r\nHost: gw\r\n\r\n", until=b"ok"), "the end of connections that clients would keep")
        assert 200 == gateway.get("/still")[0]
        os.kill(gateway.workers()[0], signal.SIGKILL)  # load balancers go on sending for a while: it is started again
        eventually(lambda: up(gateway) == 1)
        assert 200 == gateway.get("/again")[0]
        gateway.process.send_signal(signal.SIGTERM)  # ends the phase
        code, err = gateway.ended()
        assert 0 == code, err


def test_a_watched_file_is_reloaded_when_it_changes(tmp_path: Path, upstream: Upstream) -> None:
    config = CONFIG.format(url=upstream.url).replace("\n[services", "\n[process]\nwatch = true\n[services", 1)
    with running(tmp_path, config, workers=1) as gateway:
        assert 200 == gateway.get("/old")[0]
        new = gateway.file.with_suffix(".new")
        new.write_text(gateway.file.read_text().replace('path = "/*"', 'path = "/new/*"'))
        new.rename(gateway.file)
        eventually(lambda: gateway.get("/old")[0] == 404, "the new file in force")
        with contextlib.suppress(OSError):
            gateway.file.write_text("nonsense")
        assert 200 == gateway.get("/new/x")[0]


def test_a_hung_worker_does_not_hang_the_pages(tmp_path: Path, upstream: Upstream) -> None:
    with running(tmp_path, CONFIG.format(url=upstream.url), workers=2) as gateway:
        for _ in range(20):
            assert 200 == gateway.get("/x")[0]
        eventually(lambda: gateway.metric("success") == 20)
        hung = gateway.workers()[0]
        os.kill(hung, signal.SIGSTOP)
        assert 20 == gateway.metric("success")  # what it said last
        assert 1 == up(gateway)
        os.kill(hung, signal.SIGCONT)
        eventually(lambda: up(gateway) == 2)


class Stub:
    """A worker that takes a configuration, refuses it, or cannot go back."""

    def __init__(self, number: int, answers: list[Exception | None]) -> None:
        self.number, self.is_leaving, self.is_ended = number, False, False
        self.answers, self.asked = answers, list[tuple[str, object]]()

    async def ask(self, verb: str, argument: tuple[str, object, float], timeout_s: float) -> tuple[None, list[object]]:
        self.asked.append((verb, argument[1]))
        answer = self.answers.pop(0)
        if answer is not None:
            raise answer
        return None, []

    def terminate(self) -> None:
        self.is_ended = True


def test_if_one_worker_refuses_the_others_go_back_and_who_cannot_is_replaced(tmp_path: Path) -> None:
    async def main() -> None:
        file = tmp_path / "gateway.toml"
        file.write_text(CONFIG.format(url="http://127.0.0.1:9"))
        supervisor = Supervisor(file, workers=4)
        before = supervisor.data
        workers = [Stub(1, [None, None]), Stub(2, [WorkerRefusedError("no port")]), Stub(3, [None, WorkerRefusedError("x")]),
                   Stub(4, [WorkerGoneError()])]
        supervisor.workers.update({each.number: each for each in workers})  # type: ignore[misc]
        file.write_text(CONFIG.format(url="http://127.0.0.1:8"))
        with pytest.raises(ConfigError, match="worker 2 cannot take it: no port"):
            await supervisor.reload()
        assert supervisor.data is before
        assert {"applied": 0, "rejected": 1} == supervisor.reloads
        assert [2, 1, 2, 1] == [len(each.asked) for each in workers]
        assert [("reload", before)] * 2 == [workers[0].asked[1], workers[2].asked[1]]
        assert [False, False, True, False] == [each.is_ended for each in workers]

    asyncio.run(main())


def test_one_that_is_silent_goes_back_too_if_it_has_taken_it_after_all_and_nobody_waits_for_that(tmp_path: Path) -> None:
    async def main() -> None:
        document = Document('a = 1\n', "new.toml")
        workers = [Stub(1, [None, None]), Stub(2, [WorkerSilentError(), None]), Stub(3, [WorkerSilentError(), WorkerSilentError()])]
        with pytest.raises(ConfigError, match="worker 2, worker 3 cannot take it: no answer within 60 s"):
            await distribute(document, ("old.toml", {"a": 0}), workers)  # type: ignore[arg-type]
        await asyncio.gather(*_later)
        assert [[("reload", {"a": 1}), ("reload", {"a": 0})]] * 3 == [each.asked for each in workers]
        assert [False, False, True] == [each.is_ended for each in workers]

    asyncio.run(main())


@pytest.mark.parametrize("late", [False, True])
def test_a_worker_takes_a_configuration_in_time_or_not_at_all(late: bool) -> None:
    """It may have been stopped, or busy, for so long that the others have gone back."""
    async def main() -> None:
        old, new = (Document(CONFIG.format(url=f"http://127.0.0.1:{port}"), "g.toml") for port in (8, 9))
        gateway = EmbeddedGateway(read(old), registry=Registry())
        answers = Answers(cast("Channel", None), gateway, Listeners(drain_s=0.0))
        by = time.monotonic() + (-0.001 if late else 60.0)
        with pytest.raises(RefusedError, match="too late") if late else contextlib.nullcontext():
            await answers._reload(lambda _: None, ("g.toml", new.data, by))
        assert ("http://127.0.0.1:8" if late else "http://127.0.0.1:9",) == tuple(
            each.url for each in gateway.config.services["up"].endpoints)
        gateway.close()

    asyncio.run(main())


def test_a_change_of_a_watched_file_is_heard_of_whoever_has_read_what_was_there_before(tmp_path: Path) -> None:
    file, heard = tmp_path / "gateway.toml", threading.Event()

    async def main() -> None:
        async def hears() -> None:
            await asyncio.to_thread(heard.wait, 10)
            assert heard.is_set()
            heard.clear()

        file.write_text("a = 1")
        made = ConfigurationFile(file)
        made.read()
        file.write_text("a = 2")  # before it is watched
        with made.watched(heard.set):
            await hears()
            made.read()
            file.write_text("a = 3")
            made.read()  # as a signal asks for, before the watcher has looked
            file.write_text("a = 2")
            await hears()

    asyncio.run(main())


def test_a_reload_to_a_port_that_is_taken_asks_no_worker(tmp_path: Path) -> None:
    async def main() -> None:
        file = tmp_path / "gateway.toml"
        public = CONFIG.format(url="http://127.0.0.1:9")
        file.write_text(public)
        supervisor, worker = Supervisor(file, workers=1), Stub(1, [])
        supervisor.workers[1] = worker  # type: ignore[assignment]
        with socket.create_server(("127.0.0.1", 0)) as stranger:
            taken = stranger.getsockname()[1]
            file.write_text(public + f'\n[private]\nbind = "127.0.0.1:{taken}"\n[[private.routes]]\npath = "/*"\nservice = "up"\n')
            with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{taken}: Address already in use"):
                await supervisor.reload()
        assert [] == worker.asked

    asyncio.run(main())
