"""``deadline`` of a service was kept by the timeout of its command alone: with ``timeout = false`` a request took for ever."""

import socket
import time

import pytest

from tests.gateway.harness import running

CONFIG = """
[services.up]
endpoints = ["http://127.0.0.1:{port}", "http://127.0.0.1:{port}/other"]
deadline = 0.2
command = {{ timeout = false, {more} }}
[[routes]]
path = "/*"
service = "up"
"""


@pytest.mark.process
@pytest.mark.parametrize("more", ["breaker = {}", "breaker = false, max_concurrent = false", 'per = "service"'])
def test_a_request_has_no_more_time_than_its_service_gives_it(tmp_path, more):
    with socket.create_server(("127.0.0.1", 0)) as silent, running(
            tmp_path, CONFIG.format(port=silent.getsockname()[1], more=more)) as gateway:
        began = time.monotonic()
        status, _, _ = gateway.get("/x")
        assert status == 504
        assert 0.2 <= time.monotonic() - began < 5.0
