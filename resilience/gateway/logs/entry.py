r"""Entries of the access log: how a request that is over is written, as JSON, or in the Common or Combined Log Format.

Whatever a client sends is data: it cannot end a line, close a string, or speak to a terminal. JSON is all ASCII, with
everything else escaped. The two formats of NCSA escape as Apache httpd does: ``\"`` and ``\\``, the usual letters for
tabs and ends of line, and ``\xhh`` for every other byte that is not printable ASCII. No field is longer than MAX_FIELD
bytes, and a cut one ends in dots.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from json.encoder import encode_basestring_ascii
from typing import Final

from ..messages.inbound import RequestHead
from .observed_request import CLIENT_GONE, ObservedRequest
from .redaction import redacted_urls

Redactor = Callable[[bytes], bytes]

#: Bytes of one field that are logged.
MAX_FIELD: Final = 2048
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_CUT: Final = b"..."
_UNSAFE: Final = re.compile(r'[^\x20-\x21\x23-\x5b\x5d-\x7e]')
_ESCAPES: Final[Mapping[str, str]] = {
    '"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}


def _as_is(query: bytes) -> bytes:
    return query


def cut(field: bytes) -> bytes:
    """A *field* that is not too long."""
    return field if len(field) <= MAX_FIELD else field[: MAX_FIELD - len(_CUT)] + _CUT


def json_line(observed: ObservedRequest, redacted: Redactor = _as_is) -> str:
    """The line of a request that is over as an object of JSON. What is not known is left out."""
    text, head, at = encode_basestring_ascii, observed.head, observed.ended
    whole, upstream_s = int(at), observed.upstream_s
    line = (f'{{"time":"{_utc(whole)}.{int((at - whole) * 1000):03d}Z","client":{text(observed.client or "-")},'
            f'"method":{text(head.method)},"path":{text(_target(head, redacted))},"version":{text(head.version)},'
            f'"status":{observed.status or CLIENT_GONE},"bytes_in":{observed.received},"bytes_out":{observed.sent},'
            f'"duration":{observed.duration_s:.6f}')
    if upstream_s is not None:
        line += f',"upstream":{upstream_s:.6f}'
    if observed.service is not None:
        line += f',"service":{text(observed.service)}'
    for name in ("listener", "route", "endpoint", "consumer", "refused", "request_id"):
        value: str | None = getattr(observed, name)
        if value is not None:
            line += f',"{name}":{text(value)}'
    if observed.trace is not None:
        line += f',"trace_id":"{observed.trace.trace_id}"'
    if observed.attempts:
        line += f',"attempts":{observed.attempts}'
    if not observed.complete:
        line += ',"complete":false'
    if observed.logged:
        shown = ",".join(f"{text(name)}:{text(redacted_urls(value, redacted).decode('latin-1'))}"
                         for name, value in observed.logged)
        line += f',"headers":{{{shown}}}'
    return line + "}\n"


def clf_line(observed: ObservedRequest, redacted: Redactor = _as_is) -> str:
    """The line of a request that is over in the Common Log Format: Apache's ``%h %l %u %t "%r" %>s %b``."""
    return _common(observed, redacted) + "\n"


def combined_line(observed: ObservedRequest, redacted: Redactor = _as_is) -> str:
    """The line of a request that is over in the Combined Log Format, which has Referer and User-Agent, too."""
    named = dict(observed.logged)
    return (f'{_common(observed, redacted)} "{_quoted(named.get("referer"), redacted)}" '
            f'"{_quoted(named.get("user-agent"), redacted)}"\n')


FORMATS: Final[Mapping[str, Callable[[ObservedRequest, Redactor], str]]] = {
    "json": json_line, "clf": clf_line, "combined": combined_line}


def _target(head: RequestHead, redacted: Redactor) -> str:
    target = b"%b?%b" % (cut(head.path), cut(head.query)) if head.query else cut(head.path)
    return redacted_urls(target, redacted).decode("latin-1")


def _common(observed: ObservedRequest, redacted: Redactor) -> str:
    head = observed.head
    request = "-" if head.path == b"-" else escaped(f"{head.method} {_target(head, redacted)} HTTP/{head.version}")
    user = escaped(observed.consumer or "-").replace(" ", "\\x20")  # the fields are parted by spaces
    return (f'{observed.client or "-"} - {user} [{_local(int(observed.ended))}] "{request}" '
            f"{observed.status or CLIENT_GONE} {observed.sent or '-'}")


def _quoted(value: bytes | None, redacted: Redactor) -> str:
    return escaped(redacted_urls(value, redacted).decode("latin-1")) if value else "-"


def escaped(text: str) -> str:
    """A *text* within quotation marks, as Apache httpd writes it; beyond Latin-1 the bytes of UTF-8 are escaped."""
    return _UNSAFE.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    mark = found[0]
    known = _ESCAPES.get(mark)
    if known is not None:
        return known
    code = ord(mark)
    return "".join(f"\\x{each:02x}" for each in ((code,) if code < 256 else mark.encode("utf-8", "surrogatepass")))


_second: tuple[int, str] = (-1, "")
_local_second: tuple[int, str] = (-1, "")


def _utc(at: int) -> str:
    global _second
    known, text = _second
    if known != at:
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at))
        _second = at, text  # whole, so that another thread finds the old or the new
    return text


def _local(at: int) -> str:
    global _local_second
    known, text = _local_second
    if known != at:
        there = time.localtime(at)
        offset = there.tm_gmtoff // 60
        text = (f"{there.tm_mday:02d}/{_MONTHS[there.tm_mon - 1]}/{there.tm_year:04d}:{there.tm_hour:02d}:"
                f"{there.tm_min:02d}:{there.tm_sec:02d} {'-' if offset < 0 else '+'}"
                f"{abs(offset) // 60:02d}{abs(offset) % 60:02d}")
        _local_second = at, text
    return text
