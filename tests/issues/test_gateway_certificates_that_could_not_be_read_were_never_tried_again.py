"""New certificates that could not be read when they were looked at first were used only after another change.

Permissions that are mended, and a process that has open files again, change neither the time, the size nor the inode of
the file. So a renewal that failed once stayed undone until the next one, with an expired certificate in use.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from resilience.errors import ConfigError
from resilience.gateway.config import CertificateSettings, TlsSettings
from resilience.gateway.front import tls

PEMS = [Path(__file__).parents[1] / "dashboard" / "localhost.pem", Path(__file__).parents[1] / "gateway" / "elsewhere.pem"]


def test_they_are_tried_again_and_told_of_once(
        tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "certificate.pem"
    shutil.copy(PEMS[0], file)
    contexts = tls.TlsContexts(tls.TlsSettings(certificates=(CertificateSettings(certificate_file=str(file)),)))
    first = contexts.current(100.0)
    shutil.copy(PEMS[1], file)

    def refuse(settings: TlsSettings, protocols: object) -> None:
        raise ConfigError(f"{file} cannot be read (Permission denied)", "certificate_file")

    with monkeypatch.context() as patch:
        patch.setattr(tls, "context_of", refuse)
        assert [first, first] == [contexts.current(102.0), contexts.current(104.0)]
    assert 1 == caplog.text.count("keeps its old certificates")
    assert first is contexts.current(104.5), "it is looked at no more often than before"
    assert first is not contexts.current(106.0)
    assert "certificates were read anew" in caplog.text, "whoever has read of the trouble reads of its end"
