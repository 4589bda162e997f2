"""A worker that does not end when it is told to is killed, with what it has under way; no message said so."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.gateway.harness import Gateway, Upstream, eventually, shared_upstream
from tests.gateway.test_supervision import CONFIG, ready

pytestmark = pytest.mark.process
upstream = shared_upstream()


def test_the_end_says_which_worker_was_killed(tmp_path: Path, upstream: Upstream) -> None:
    gateway = Gateway(tmp_path, CONFIG.format(url=upstream.url), workers=2)
    stopped, _ = gateway.workers()
    os.kill(stopped, signal.SIGSTOP)
    gateway.process.send_signal(signal.SIGTERM)
    eventually(lambda: ready(gateway)[0] == 503)
    gateway.process.send_signal(signal.SIGTERM)  # ends the time that is left
    status, err = gateway.ended()

    assert 0 == status
    assert f"(process {stopped}) has not ended in time, and is killed" in err
