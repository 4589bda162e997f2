"""The ``hmac`` filter remembered how the header Signature was written, and most of how it is written is not signed.

RFC 9421 2.5 signs neither the label of a signature nor the parameters of its member, and base64 has bits that stand for
nothing: with ``sig1=`` renamed ``a=``, a request that somebody had caught was taken again, any number of times.
"""

from __future__ import annotations

import re

import pytest

from tests.gateway.filters.test_hmac import Guard, Sent


def written(sent: Sent, signature, stated=lambda text: text) -> Sent:
    """The same request, whose signature is the same and written otherwise."""
    other = Sent(sent.method, sent.path, sent.query, sent.host, sent.body)
    other.headers = {**sent.headers, "Signature": signature(sent.headers["Signature"]),
                     "Signature-Input": stated(sent.headers["Signature-Input"])}
    return other


def _other_bits(text: str) -> str:
    """The base64 of the same bytes: the last digit of 32 bytes has two bits that stand for nothing."""
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    return re.sub("(.)=:", lambda found: f"{digits[digits.index(found[1]) ^ 1]}=:", text)


SPELLINGS = {
    "as it was": (str, str),
    "another label": (lambda text: text.replace("pyhms=", "a="), lambda text: text.replace("pyhms=", "a=")),
    "a parameter": (lambda text: text + ";x=1", str),
    "a parameter that is true": (lambda text: text + ";x", str),
    "space around": (lambda text: f" {text}  ", str),
    "space before the parameter": (lambda text: text + "; x=1", str),
    "other bits at the end": (_other_bits, str),
    "no padding": (lambda text: text.replace("=:", ":"), str),
    "space in the statement": (str, lambda text: text.replace('" "', '"  "').replace("(", "( ").replace(";", "; ")),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_a_signature_is_taken_once_however_it_is_written(monkeypatch, spelling):
    guard = Guard(monkeypatch)
    sent = Sent().sign()
    assert "pyhms=" in sent.headers["Signature"]

    assert await guard.status(sent) == 200
    assert await guard.status(written(sent, *SPELLINGS[spelling])) == 401


async def test_a_signature_is_taken_once_whatever_stands_beside_it(monkeypatch):
    """With a tag, a request may have signatures of others, too."""
    guard = Guard(monkeypatch, tag="gw")
    sent = Sent().sign(tag="gw", label="ours")

    assert await guard.status(sent) == 200
    for number in range(3):
        beside = written(sent, str)
        beside.sign(tag=f"other-{number}", label=f"l{number}", append_if_signature_exists=True)
        assert beside.headers["Signature"].count("=:") >= 2
        assert await guard.status(beside) == 401
    assert await guard.status(Sent().sign(tag="gw", nonce="1")) == 200
