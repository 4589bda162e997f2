"""Client certificates, as the gateway's filters know them: from what Python's ``ssl`` tells of a connection."""

from __future__ import annotations

import hashlib
import re
import ssl
from typing import Any, Final

from ..messages.inbound import ClientCertificate

#: RFC 4514, 3.
_SHORT: Final = {
    "commonName": "CN", "localityName": "L", "stateOrProvinceName": "ST", "organizationName": "O",
    "organizationalUnitName": "OU", "countryName": "C", "streetAddress": "STREET", "domainComponent": "DC",
    "userId": "UID",
}
_ESCAPED: Final = re.compile(r'[,+"\\<>;]|^[ #]|[ ]$|\0')


def client_certificate(tls: ssl.SSLObject | ssl.SSLSocket) -> ClientCertificate | None:
    """The certificate that the other end of *tls* has shown, verified; None: it has shown none."""
    told: dict[str, Any] | None = tls.getpeercert()
    encoded = tls.getpeercert(binary_form=True)
    if not told or not encoded:
        return None
    names = tuple(f"{kind}:{value}" for kind, value in told.get("subjectAltName", ()) if isinstance(value, str))
    return ClientCertificate(
        subject=distinguished_name(told.get("subject", ())), names=names,
        fingerprint=hashlib.sha256(encoded).hexdigest())


def distinguished_name(parts: Any) -> str:
    """A name as RFC 4514 writes it, from one as ``ssl`` gives it: the most significant part last."""
    return ",".join("+".join(f"{_SHORT.get(kind, kind)}={_ESCAPED.sub(_escape, value)}" for kind, value in part)
                    for part in reversed(parts))


def _escape(found: re.Match[str]) -> str:
    return "\\00" if found[0] == "\0" else f"\\{found[0]}"
