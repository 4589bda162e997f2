"""Validity: from when until when the certificates of a file are good, and a word in the log before that is over."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import attrs
from cryptography import x509

from ...config.document import read_whole

#: Who renews by hand needs days, and certificates of a day or a week are renewed by programs: so much before its end,
#: or a fifth of its life, if that is less, it is said that a certificate ends.
_NOTICE_S: Final = 14 * 86400.0
_SHARE: Final = 0.2
_logger = logging.getLogger("resilience.gateway")


@attrs.frozen
class Validity:
    """When the certificates of one file are good: all of them, the one between and the one for clients.

    Attributes:
        file: Where they are.
        begins_at: Unix time.
        ends_at: Unix time.
    """

    file: str
    begins_at: float
    ends_at: float

    @classmethod
    def of(cls, file: str) -> Validity | None:
        """That of a *file* in PEM; None: nobody can tell."""
        try:
            them = x509.load_pem_x509_certificates(read_whole(file))
        except (OSError, ValueError):
            return None
        return cls(file, max(each.not_valid_before_utc.timestamp() for each in them),
                   min(each.not_valid_after_utc.timestamp() for each in them))

    def trouble(self, now: float) -> tuple[int, str] | None:
        """What there is to say of it at the Unix time *now*: how grave it is, as logging says it, and what."""
        if now >= self.ends_at:
            return logging.ERROR, f"has expired on {_shown(self.ends_at)}, and clients reject it: replace the file"
        if now < self.begins_at:
            return logging.ERROR, f"is not valid before {_shown(self.begins_at)}, and clients reject it until then"
        if self.ends_at - now < min(_NOTICE_S, _SHARE * (self.ends_at - self.begins_at)):
            return logging.WARNING, f"expires on {_shown(self.ends_at)}: replace the file before"
        return None


class Notices:
    """Says in the log, once each, what there is to say of certificates. For one thread at a time."""

    def __init__(self) -> None:
        """Nothing was said."""
        self._said: set[tuple[str, str]] = set()

    def tell(self, validities: Sequence[Validity], now: float | None = None) -> None:
        """Say what is true at this moment, or *now*, and was not said before.

        Args:
            validities: Of the certificates in use.
            now: Unix time.
        """
        now = time.time() if now is None else now
        found = [(each.file, trouble) for each in validities if (trouble := each.trouble(now)) is not None]
        for file, (level, text) in found:
            if (file, text) not in self._said:
                _logger.log(level, "the certificate in %s %s", file, text)
        self._said = {(file, text) for file, (_, text) in found}


def _shown(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M} UTC"
