"""The page on gRPC: its file, its server and its client are run as they stand, and print what the page says."""

from __future__ import annotations

import runpy
import subprocess
import sys

import pytest
from pages import DOCS, fences
from recipe import Recipe

from tests.gateway.harness import eventually, free_port, listens

pytestmark = pytest.mark.process

PAGE = DOCS / "howto" / "proxy-grpc.md"


@pytest.fixture
def servers():
    started = []
    yield started
    for each in started:
        each.kill()
        each.wait()


def test_the_page_s_client_gets_its_answers_while_one_server_is_left_and_unavailable_when_none_is(tmp_path, servers, capsys):
    ports = {"50051": free_port(), "50052": free_port()}
    gateway = Recipe(tmp_path, PAGE, {f":{there}": f":{here}" for there, here in ports.items()})
    try:
        for port in ports.values():
            servers.append(subprocess.Popen([sys.executable, "price_server.py", f"{port}"], cwd=tmp_path))
            eventually(lambda port=port: listens(port), "the server listening")
        all_well, all_gone = [each.text for each in fences(PAGE) if each.language == "text"]
        for wanted, server in ((all_well, servers[0]), (all_well, servers[1]), (all_gone, None)):
            runpy.run_path(str(tmp_path / "price_client.py"), run_name="__main__")
            assert wanted == capsys.readouterr().out
            if server is not None:
                server.kill()
                server.wait()
    finally:
        code, err = gateway.stop()
    assert (0, "") == (code, err)
