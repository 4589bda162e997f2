"""A client that asks for a certificate of a name with other bytes than ASCII wrote a traceback into the gateway's log.

Python's ssl cannot raise that from the callback that chooses the certificate, and prints it, from the event loop: anybody
could fill the log, and hold all requests up where a collector of logs takes nothing more.
"""

from __future__ import annotations

import logging
import ssl
import sys

import pytest

from resilience.gateway import server
from tests.gateway.front.test_certificates import handshake
from tests.gateway.front.test_listener import LOCALHOST, tls, trusting


def test_nothing_is_printed_and_the_handshake_fails(
        monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(sys, "unraisablehook", server._log_unraisable)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting(LOCALHOST).wrap_bio(down, up, server_hostname="odd-name")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    hello = up.read().replace(b"odd-name", b"\xff\xfe\n\x1b[31m")
    caplog.set_level(logging.INFO)
    with pytest.raises(ssl.SSLError):
        handshake(tls(), trusting(LOCALHOST), hello)
    assert ("", "") == capfd.readouterr()
    assert [] == caplog.records


def test_what_else_cannot_be_raised_is_logged(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    class Odd:
        def __del__(self) -> None:
            raise RuntimeError("cannot go")

    monkeypatch.setattr(sys, "unraisablehook", server._log_unraisable)
    Odd()
    assert "cannot go" in caplog.text
    assert "Odd.__del__" in caplog.text
