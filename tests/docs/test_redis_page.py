"""The page on Redis, whose snippets need a real redis-server."""

from __future__ import annotations

import shutil
import socket
import subprocess

import pytest
from test_snippets import REDIS_PAGE, namespace, run_page  # noqa: F401 - namespace is a fixture

from tests.drivers.until import until


@pytest.fixture
def redis_server(tmp_path):
    """A real server on a socket of its own; returns its URL."""
    path = tmp_path / "redis.sock"
    process = subprocess.Popen(
        [shutil.which("redis-server"), "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(tmp_path)],
        stdout=subprocess.DEVNULL)

    def answers():
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(str(path)) == 0

    until(answers)
    yield f"unix://{path}"
    process.kill()
    process.wait(10)


def test_the_snippets_of_the_page_on_redis_print_what_it_says(
        redis_server, namespace, tmp_path, monkeypatch, capsys):  # noqa: F811
    monkeypatch.setenv("REDIS_URL", redis_server)
    run_page(REDIS_PAGE, namespace, tmp_path, monkeypatch, capsys)
