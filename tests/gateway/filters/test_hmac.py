"""HMAC signatures of requests: made with the library's signer, and damaged in every way."""

import datetime
import random

import pytest
from http_message_signatures import HTTPMessageSigner, HTTPSignatureKeyResolver
from http_message_signatures.algorithms import HMAC_SHA256

from resilience.errors import ConfigError
from resilience.gateway.config import FilterConfig
from resilience.gateway.filters.chain import chain_of
from resilience.gateway.filters.hmac_signature import HmacKey, HmacSignature, Signed
from resilience.gateway.filters.seen_signatures import SeenSignatures
from resilience.gateway.filters.step import step_of
from tests.gateway.filters.chains import Bench
from tests.gateway.harness import Upstream, parsed, running
from tests.seeds import over_seeds

SECRET = "s" * 32
COVERED = ("@method", "@authority", "@path", "@query")


class Secret(HTTPSignatureKeyResolver):
    def __init__(self, secret=SECRET):
        self.secret = secret.encode()

    def resolve_private_key(self, key_id):
        return self.secret

    resolve_public_key = resolve_private_key


class Sent:
    """A request that a client signs."""

    def __init__(self, method="GET", path="/x", query="a=1", host="gw", body=b"", headers=()):
        self.method, self.path, self.query, self.host, self.body = method, path, query, host, body
        self.headers = dict(headers)

    @property
    def url(self):
        return f"http://{self.host}{self.path}" + (f"?{self.query}" if self.query else "")

    def sign(self, *, secret=SECRET, covered=COVERED, ago=0, key_id="billing", **more):
        signer = HTTPMessageSigner(signature_algorithm=HMAC_SHA256, key_resolver=Secret(secret))
        created = datetime.datetime.now() - datetime.timedelta(seconds=ago)
        signer.sign(self, key_id=key_id, created=created, covered_component_ids=covered, body=self.body or None, **more)
        return self


class Guard:
    """An hmac filter, and what it makes of requests."""

    def __init__(self, monkeypatch, **said):
        monkeypatch.setenv("BILLING", SECRET)
        monkeypatch.setenv("OTHER", "o" * 32)
        keys = (HmacKey(id="billing", secret="env:BILLING", consumer="billing", scopes=("pay",)),
                HmacKey(id="other", secret="env:OTHER", consumer="other"))
        settings = HmacSignature(keys=keys, **said)
        self.identity = None
        self.bench = Bench()
        parts = Signed(settings).parts()
        self.bench.chain = chain_of([step_of(FilterConfig.of(settings), self.noting(part.call), self.bench.registry, part.said)
                                     for part in parts])

    def noting(self, call):
        def run(context):
            call(context)
            self.identity = context.identity

        return run

    async def status(self, sent, **changed):
        self.identity = None
        lines = [(name.lower().encode(), value.encode("latin-1")) for name, value in sent.headers.items()]
        said = {"path": sent.path.encode(), "query": sent.query.encode(), "method": sent.method, "body": sent.body, **changed}
        self.bench.forwarder.requests.clear()
        client = await self.bench.get(said.pop("path"), headers=[*lines, *said.pop("more", [])], **said)
        assert (client.status == 200) == bool(self.bench.forwarder.requests) == (client.status < 400)
        return client.status


async def test_a_signed_request_passes_once(monkeypatch):
    guard = Guard(monkeypatch)
    sent = Sent().sign()

    assert await guard.status(sent) == 200
    assert (guard.identity.consumer, guard.identity.scopes, guard.identity.method) == ("billing", {"pay"}, "hmac")
    assert await guard.status(sent) == 401  # a replay
    assert await guard.status(Sent().sign(nonce="1")) == 200
    assert await guard.status(Sent().sign(nonce="2")) == 200
    assert await guard.status(Sent(query="").sign()) == 200


async def test_a_signature_covers_what_the_configuration_says_and_not_what_the_client_likes(monkeypatch):
    guard = Guard(monkeypatch, components=(*COVERED, "content-type"))

    assert await guard.status(Sent(headers={"Content-Type": "x"}).sign(covered=(*COVERED, "content-type"))) == 200
    assert await guard.status(Sent(headers={"Content-Type": "x"}).sign()) == 401
    for left_out in COVERED:
        covered = [each for each in (*COVERED, "content-type") if each != left_out]
        assert await guard.status(Sent(headers={"Content-Type": "x"}).sign(covered=covered)) == 401
    assert await guard.status(Sent(headers={"Content-Type": "x"}).sign(covered=())) == 401


async def test_whatever_is_changed_after_signing_is_noticed(monkeypatch):
    guard = Guard(monkeypatch)

    assert await guard.status(Sent().sign(nonce="a"), path=b"/y") == 401
    assert await guard.status(Sent().sign(nonce="b"), query=b"a=2") == 401
    assert await guard.status(Sent().sign(nonce="c"), query=b"") == 401
    assert await guard.status(Sent().sign(nonce="d"), method="DELETE") == 401
    assert await guard.status(Sent(host="elsewhere").sign()) == 401
    assert await guard.status(Sent().sign(secret="x" * 32)) == 401
    assert await guard.status(Sent().sign(key_id="other")) == 401
    assert await guard.status(Sent().sign(key_id="nobody")) == 401
    assert await guard.status(Sent().sign(nonce="e")) == 200


async def test_a_body_is_compared_with_its_signed_digest(monkeypatch):
    guard = Guard(monkeypatch, max_body=100)
    sent = Sent("POST", body=b"pay 1").sign()

    assert await guard.status(sent, body=b"pay 2") == 401
    assert await guard.status(sent) == 200
    assert await guard.status(Sent("POST", body=b"").sign(nonce="x"), body=b"smuggled") == 401
    assert await guard.status(Sent("POST", body=b"x" * 101).sign()) == 413


async def test_a_signature_is_valid_within_its_window_only(monkeypatch):
    guard = Guard(monkeypatch, window=60.0)

    for ago, status in [(50, 200), (70, 401), (3600, 401), (-3, 200), (-60, 401)]:
        assert await guard.status(Sent().sign(ago=ago)) == status, ago
    expired = datetime.datetime.now() - datetime.timedelta(seconds=20)
    assert await guard.status(Sent().sign(expires=expired)) == 401


async def test_doubled_and_missing_signature_fields_are_refused(monkeypatch):
    guard = Guard(monkeypatch)
    sent = Sent().sign()
    both = [(name.lower().encode(), value.encode()) for name, value in sent.headers.items()]

    for field in both:
        assert await guard.status(sent, more=[field]) == 400
        half = Sent()
        half.headers = {field[0].decode(): field[1].decode()}
        assert await guard.status(half) == 401
    assert await guard.status(Sent()) == 401
    two = Sent().sign(label="a", nonce="1").sign(label="b", nonce="2", append_if_signature_exists=True)
    assert await guard.status(two) == 401


@over_seeds(200)
async def test_no_damaged_signature_passes_or_is_anything_but_401(seed):
    chance = random.Random(seed)
    with pytest.MonkeyPatch.context() as patch:
        if not _kept:
            _kept.append(Guard(patch))
        sent = Sent().sign(nonce=str(seed))
    name = chance.choice([*sent.headers])
    raw = list(sent.headers[name])
    for _ in range(chance.randrange(1, 4)):
        at, letter = chance.randrange(len(raw)), chance.choice('abcXYZ019=:;,()"@ ?\\\t\xe9')
        chance.choice([lambda: raw.insert(at, letter), lambda: raw.__setitem__(at, letter)])()  # noqa: B023
    damaged = "".join(raw)
    if damaged.split() == sent.headers[name].split():
        return
    sent.headers[name] = damaged
    status = await _kept[0].status(sent)
    assert status == 401 or (status == 200 and _says_the_same(damaged, name)), damaged


_kept = []


def _says_the_same(damaged, name):
    """Whether damage was of the kind that structured fields do not see, such as a space between parameters."""
    return name == "Signature-Input" and " " in damaged or "; " in damaged


def test_signatures_are_remembered_for_the_window_and_up_to_a_number():
    seen = SeenSignatures(10.0, 3)

    assert [seen.take(b"%d" % n, 0.0 + n, 0.0 + n) for n in (0, 1, 2, 3)] == [True, True, True, None]
    assert seen.take(b"0", 0.0, 10.0) is False
    assert seen.take(b"3", 3.0, 10.1) is True  # the first has left the window
    assert seen.take(b"4", 4.0, 10.5) is None
    assert len(seen) == 3


@over_seeds(100)
def test_the_memory_of_signatures_agrees_with_a_list_of_all(seed):
    chance = random.Random(seed)
    seen, history, now = SeenSignatures(10.0, 5), [], 0.0
    for _ in range(100):
        now += chance.choice([0.0, 0.5, 3.0, 11.0])
        digest = chance.choice([b"a", b"b", b"c", b"d", b"e", b"f", b"g"])
        alive = [each for at, each in history if now <= at + 10.0]
        expected = False if digest in alive else None if len(alive) >= 5 else True
        assert seen.take(digest, now, now) is expected
        if expected:
            history.append((now, digest))


def test_secrets_are_not_in_the_file_and_not_too_short(monkeypatch):
    monkeypatch.setenv("SHORT", "x")
    monkeypatch.setenv("LONG", "x" * 32)
    for secret in ("literally", "env:NO_SUCH", "file:/no/such", "env:SHORT"):
        with pytest.raises(ConfigError):
            HmacKey(id="a", secret=secret, consumer="a")
    key = HmacKey(id="a", secret="env:LONG", consumer="a")
    assert "xxx" not in repr(key)
    with pytest.raises(ConfigError, match="two keys"):
        HmacSignature(keys=(key, key))
    with pytest.raises(ConfigError):
        HmacSignature(keys=())


def test_signed_requests_pass_over_the_wire_with_their_bodies(tmp_path, monkeypatch):
    monkeypatch.setenv("BILLING", SECRET)
    upstream = Upstream()
    config = f"""
[services.up]
endpoints = ["{upstream.url}"]
[filters.signed]
use = "hmac"
keys = [{{ id = "billing", secret = "env:BILLING", consumer = "the till" }}]
[[routes]]
path = "/*"
service = "up"
filters = ["signed"]
"""
    with running(tmp_path, config) as gateway:
        sent = Sent("POST", "/pay", "n=%201", body=b"5 coins").sign()
        head = "".join(f"{name}: {value}\r\n" for name, value in sent.headers.items())
        for body, status in [(b"5 coins", 200), (b"5 coins", 401), (b"6 coins", 401)]:
            raw = gateway.raw(f"POST /pay?n=%201 HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n{head}Content-Length: 7\r\n\r\n".encode() + body)
            assert parsed(raw)[0] == status
        call = upstream.called("/pay?n=%201")
        assert call.header(b"x-consumer") == [b"the%20till"]
        assert upstream.count("/pay?n=%201") == 1
    upstream.close()
