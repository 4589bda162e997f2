"""One upstream and one gateway for many tests; a test takes a path of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .harness import Gateway, Upstream, eventually, free_port, running

CONFIG = """
client_timeout = {wait}
[services.up]
endpoints = ["{url}"]
idle_timeout = {wait}
max_body = false
command = {{ timeout = {wait}, max_concurrent = 50, breaker = false }}
[services.strip]
endpoints = ["{url}"]
command.breaker = false
[services.host]
endpoints = ["{url}"]
preserve_host = true
[services.dead]
endpoints = ["http://127.0.0.1:{dead}"]
command.breaker = false
[[routes]]
path = "/*"
service = "up"
[[routes]]
path = "/strip/*"
service = "strip"
strip_prefix = "/strip"
[[routes]]
path = "/host/*"
service = "host"
[[routes]]
path = "/dead/*"
service = "dead"
[[routes]]
path = "/of-a-host/*"
methods = ["GET"]
service = "host"
host = "only.example"
"""


@pytest.fixture(scope="session")
def upstream() -> Iterator[Upstream]:
    made = Upstream()
    yield made
    made.close()


@pytest.fixture(scope="module", autouse=True)
def _no_script_of_another_module(upstream: Upstream) -> Iterator[None]:
    """Each module scripts the paths that it likes, though all share an upstream."""
    yield
    upstream.forget()


@pytest.fixture(scope="session")
def shared_gateway(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    """No wait of it ends within a test, however slow the machine."""
    config = CONFIG.format(url=upstream.url, dead=free_port(), wait=600.0)
    with running(tmp_path_factory.mktemp("gateway"), config) as made:
        yield made


@pytest.fixture(scope="session")
def shared_impatient(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    config = CONFIG.format(url=upstream.url, dead=free_port(), wait=0.5)
    with running(tmp_path_factory.mktemp("impatient"), config) as made:
        yield made


@pytest.fixture
def gateway(shared_gateway: Gateway) -> Iterator[Gateway]:
    """The shared gateway. After each test every permit must be back, so that none counts in the next test's statistics."""
    yield shared_gateway
    eventually(lambda: not shared_gateway.busy(), "every permit back")


@pytest.fixture
def impatient(shared_impatient: Gateway) -> Iterator[Gateway]:
    """The same, whose waits end soon: for tests of what happens then."""
    yield shared_impatient
    eventually(lambda: not shared_impatient.busy(), "every permit back")
