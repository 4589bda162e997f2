"""JSON Web Tokens: which are believed, and all the ways in which others are not."""

import hashlib
import hmac
import json
import random
import time
from typing import NamedTuple

import pytest
from cryptography.hazmat.primitives import serialization

from resilience.config import ConfigFileError
from resilience.errors import ConfigError
from resilience.gateway import Identity
from resilience.gateway.client_addresses import ClientAddresses
from resilience.gateway.config import FilterConfig
from resilience.gateway.filters.chain import chain_of
from resilience.gateway.filters.jwt import Jwt, VerifiedTokens, Verifying, claim_of
from resilience.gateway.filters.key_set import FileKeys, keys_of
from resilience.gateway.filters.step import step_of
from tests.gateway.filters import tokens
from tests.gateway.filters.chains import Bench
from tests.gateway.filters.test_filters_in_the_file import load_text
from tests.gateway.filters.tokens import ISSUER, key_set, signed, token
from tests.seeds import over_seeds


@pytest.fixture
def keys_file(tmp_path):
    file = tmp_path / "keys.json"
    file.write_bytes(key_set("a", "ec1", "ed1"))
    return file


class Ago(NamedTuple):
    """A time so many seconds before the test runs."""

    seconds: int


class Guard:
    """A jwt filter alone, and what it makes of a token."""

    def __init__(self, file, **said):
        self.settings = Jwt(**{"issuer": ISSUER, "audience": ("shop",), "jwks_file": str(file), **said})
        self.verifying = Verifying(self.settings, FileKeys.of_file(str(file), self.settings.algorithms))
        self.identity = None

        async def run(context):
            await self.verifying(context)
            self.identity = context.identity

        config = FilterConfig.of(self.settings)
        self.bench = Bench()
        self.bench.chain = chain_of([step_of(config, run, self.bench.registry)])

    async def status(self, credential, *, header=b"authorization", prefix="Bearer "):
        self.identity = None
        lines = [(header, f"{prefix}{each}".encode("latin-1")) for each in
                 ([credential] if isinstance(credential, str) else credential or [])]
        client = await self.bench.get(headers=lines)
        self.answer = client.answer
        assert (client.status == 200) == (len(self.bench.forwarder.requests) == 1)
        self.bench.forwarder.requests.clear()
        return client.status


async def test_a_good_token_says_who_sent_the_request(keys_file):
    guard = Guard(keys_file, roles_claim="/realm_access/roles", tenant_claim="org", algorithms=("RS256", "ES256", "EdDSA"))

    more = {"realm_access": {"roles": ["admin", 7]}, "org": "acme", "scope": "orders:read orders:write"}
    for key, algorithm in [("a", "RS256"), ("ec1", "ES256"), ("ed1", "EdDSA")]:
        assert await guard.status(token(key, algorithm, **more)) == 200
        assert (guard.identity.consumer, guard.identity.tenant, guard.identity.method) == ("ada", "acme", "jwt")
        assert guard.identity.scopes == {"orders:read", "orders:write"}
        assert guard.identity.roles == {"admin"}
        assert guard.identity.claims["iss"] == ISSUER


async def test_without_a_token_there_is_a_challenge_and_with_a_wrong_one_the_reason(keys_file):
    guard = Guard(keys_file)

    assert await guard.status(None) == 401
    assert guard.answer[1][b"www-authenticate"] == b"Bearer"
    assert await guard.status(token(exp=1)) == 401
    assert guard.answer[1][b"www-authenticate"] == b'Bearer error="invalid_token", error_description="it has expired"'
    assert guard.answer[1][b"content-type"] == b"application/problem+json"


async def test_a_present_token_is_never_enough_by_itself(keys_file):
    guard = Guard(keys_file, optional=True)

    for wrong in ["x", "a.b.c", "null", "", token()[:-4], token("stranger")]:
        assert await guard.status(wrong) == 401, wrong
    assert await guard.status("x", prefix="Basic ") == 200  # which is no token, and optional
    assert guard.identity is None


async def test_the_algorithm_is_the_configurations_choice_and_never_the_tokens(keys_file):
    guard = Guard(keys_file, algorithms=("RS256", "ES256"))
    claims = tokens.claims()
    public = tokens.private("a").public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    for none in ["none", "None", "NONE", "nOnE", "", None, ["RS256"], {"alg": "RS256"}]:
        first = f"{tokens.part({'alg': none, 'kid': 'a'})}.{tokens.part(claims)}"
        assert await guard.status(f"{first}.") == 401
        assert await guard.status(f"{first}.{token().rpartition('.')[2]}") == 401
    for secret in [public, public.strip(), json.dumps(tokens.jwk("a")).encode(), b""]:
        first = f"{tokens.part({'alg': 'HS256', 'kid': 'a'})}.{tokens.part(claims)}"
        mac = hmac.new(secret, first.encode(), hashlib.sha256).digest()
        assert await guard.status(f"{first}.{tokens.part(mac)}") == 401
    assert await guard.status(token("a", "RS512")) == 401  # a good signature, but not pinned
    assert await guard.status(token("a", "PS256")) == 401
    assert await guard.status(signed({"alg": "ES256", "kid": "a"}, claims)) == 401  # pinned, but not of this key
    assert guard.verifying.verified == 0


async def test_a_token_with_critical_extensions_is_refused_however_good_its_signature_is(keys_file):
    guard = Guard(keys_file)

    assert await guard.status(signed({"alg": "RS256", "kid": "a"}, tokens.claims())) == 200
    for crit in [["exp"], ["b64"], ["http://example/unknown"], [], None, "exp", 1]:
        assert await guard.status(signed({"alg": "RS256", "kid": "a", "crit": crit, "b64": True}, tokens.claims())) == 401
        assert await guard.status(signed({"alg": "RS256", "kid": "a", "crit": crit}, tokens.claims())) == 401
    assert await guard.status(signed({"alg": "RS256", "kid": "a", "b64": False}, tokens.claims())) == 401


async def test_a_key_id_is_only_looked_up_and_leads_nowhere(keys_file):
    guard = Guard(keys_file)

    for kid in ["../../etc/passwd", "/dev/null", "a' OR '1'='1", "a\x00", "a;ls", "b", "A", "a ", "x" * 257, 1, ["a"],
                {"a": 1}, True]:
        assert await guard.status(signed({"alg": "RS256", "kid": kid}, tokens.claims())) == 401, kid
    assert guard.verifying.verified == 0
    assert await guard.status(token(kid=None)) == 200  # one key suits, so none needs to be named


async def test_keys_and_addresses_in_a_token_are_not_looked_at(keys_file):
    guard = Guard(keys_file)
    evil = {"jku": "http://127.0.0.1:1/keys", "x5u": "http://127.0.0.1:1/x", "jwk": tokens.jwk("evil"), "x5c": ["AAAA"]}

    assert await guard.status(signed({"alg": "RS256", "kid": "evil", **evil}, tokens.claims(), "evil")) == 401
    assert await guard.status(signed({"alg": "RS256", "kid": "a", **evil}, tokens.claims(), "evil")) == 401
    assert await guard.status(signed({"alg": "RS256", "kid": "a", **evil}, tokens.claims())) == 200


async def test_more_than_one_authorization_header_is_refused_whichever_is_good(keys_file):
    guard = Guard(keys_file)

    assert await guard.status([token(), "x"]) == 400
    assert await guard.status(["x", token()]) == 400
    assert await guard.status(f"{token()}, Bearer x") == 401
    assert await guard.status(f"x, Bearer {token()}") == 401


@pytest.mark.parametrize(("more", "status"), [
    ({}, 200), ({"iss": "https://evil.example"}, 401), ({"iss": None}, 401), ({"iss": [ISSUER]}, 401),
    ({"aud": "bank"}, 401), ({"aud": None}, 401), ({"aud": ["bank", "shop"]}, 200), ({"aud": 1}, 401),
    ({"exp": None}, 401), ({"exp": "soon"}, 401), ({"exp": 1e400}, 401), ({"exp": [1]}, 401), ({"exp": Ago(5)}, 200),
    ({"exp": Ago(60)}, 401), ({"nbf": Ago(-600)}, 401), ({"nbf": Ago(-5)}, 200), ({"sub": None}, 401), ({"sub": ""}, 401),
    ({"sub": ["ada"]}, 401), ({"iat": "x"}, 401), ({"scope": 5}, 200)])
async def test_claims_are_checked_with_some_leeway_for_clocks(keys_file, more, status):
    more = {name: int(time.time()) - value.seconds if isinstance(value, Ago) else value for name, value in more.items()}
    assert await Guard(keys_file).status(signed({"alg": "RS256", "kid": "a"}, tokens.claims(**more))) == status


async def test_a_type_can_be_asked_for(keys_file):
    guard = Guard(keys_file, token_type="at+jwt")

    assert await guard.status(token(headers={"typ": "at+jwt"})) == 200
    assert await guard.status(token(headers={"typ": "application/at+jwt"})) == 200
    assert await guard.status(token(headers={"typ": "JWT"})) == 401
    assert await guard.status(token(headers={"typ": None})) == 401


async def test_the_same_token_is_verified_once_until_it_expires_or_the_keys_change(keys_file):
    guard = Guard(keys_file)
    one = token(exp=int(time.time()) + 50)

    for _ in range(5):
        assert await guard.status(one) == 200
    assert guard.verifying.verified == 1

    guard.verifying._clock = lambda: time.time() + 61
    assert await guard.status(one) == 200  # the library reads a clock of its own
    assert guard.verifying.verified == 2

    keys_file.write_bytes(key_set("b"))
    guard.verifying._keys._read.__self__._look_at = 0.0
    assert await guard.status(one) == 401
    assert await guard.status(token("b")) == 200
    keys_file.write_text("broken")
    guard.verifying._keys._read.__self__._look_at = 0.0
    assert await guard.status(token("b")) == 200


def test_the_memory_of_verified_tokens_has_a_bound_and_forgets_the_oldest():
    kept = VerifiedTokens(3)
    for index in range(10):
        kept.put(b"%d" % index, Identity(consumer=str(index)), 100.0)

    assert len(kept) == 3
    assert [kept.get(b"%d" % index, 1.0) is not None for index in range(10)] == [False] * 7 + [True] * 3
    assert kept.get(b"9", 100.0) is None
    assert len(kept) == 2


_kept = {}


@over_seeds(300)
async def test_no_damaged_token_passes_or_is_anything_but_401(seed, tmp_path):
    chance = random.Random(seed)
    if not _kept:
        (tmp_path / "keys.json").write_bytes(key_set("a"))
        _kept.update(guard=Guard(tmp_path / "keys.json"), token=token())
    good = _kept["token"]
    raw = list(good)
    for _ in range(chance.randrange(1, 4)):
        act, at = chance.randrange(3), chance.randrange(len(raw))
        letter = chance.choice("abcXYZ019-_.=+/ \t{}\"\xe9")
        if act == 0:
            raw[at] = letter
        elif act == 1:
            raw.insert(at, letter)
        else:
            del raw[at]
    damaged = "".join(raw)
    if damaged.strip(" ") == good or damaged[:-1] == good[:-1]:  # the last letter has bits that mean nothing
        return
    assert await _kept["guard"].status(damaged) == 401, damaged


async def test_headers_of_any_json_are_401(keys_file):
    guard = Guard(keys_file)
    deep = b'{"a":' * 5000 + b"1" + b"}" * 5000

    for header in [b"null", b"[]", b"1", b'"x"', b"{", b"\xff", deep, b'{"alg":"RS256","kid":"a"', b"{}"]:
        assert await guard.status(f"{tokens.part(header)}.{tokens.part({})}.AAAA") == 401
    assert await guard.status("a" * 20_000 + ".b.c") == 401


def test_a_set_keeps_only_keys_that_can_verify_as_pinned():
    entries = [tokens.jwk("a"), tokens.jwk("b", use="enc"), tokens.jwk("c", key_ops=["sign"]), tokens.jwk("d", alg="RS512"),
               {"kty": "oct", "k": "AAAA", "kid": "secret", "alg": "HS256"}, {"kty": "RSA", "kid": "broken"}, 5, {},
               tokens.jwk("ec1"), {**tokens.jwk("e"), "kid": 5}]
    entries.append({**json.loads(key_set("weak"))["keys"][0]} if tokens.private("weak", 1024) else None)

    found = keys_of(json.dumps({"keys": entries}).encode(), ("RS256", "RS384"))

    assert {key_id: [sorted(key.algorithms) for key in keys] for key_id, keys in found.items()} == {
        "a": [["RS256", "RS384"]], None: [["RS256", "RS384"]]}
    for wrong in [b"", b"[]", b"{}", b'{"keys": {}}', b'{"keys": []}', b"\xff", json.dumps({"keys": entries * 20}).encode()]:
        with pytest.raises(ValueError):
            keys_of(wrong, ("RS256",))


async def test_a_shared_secret_verifies_hmac_and_nothing_else(tmp_path, monkeypatch):
    import jwt as library

    monkeypatch.setenv("TOKENS", "s" * 32)
    settings = Jwt(issuer=ISSUER, audience=None, secret="env:TOKENS", algorithms=("HS256",))
    from resilience import Registry
    from resilience.gateway.filters import FilterHost

    host = FilterHost(name="x", services={}, registry=Registry(), client=None, service=None, addresses=ClientAddresses(lambda _: False))
    verifying = settings.bind(host)
    good = library.encode(tokens.claims(), "s" * 32, "HS256", headers={"kid": "whatever"})

    assert (await verifying._identity(good)).consumer == "ada"
    for wrong in [library.encode(tokens.claims(), "t" * 32, "HS256"), token()]:
        with pytest.raises(Exception, match=r"signature|algorithm"):
            await verifying._identity(wrong)


def test_a_claim_is_found_by_name_or_by_pointer():
    claims = {"a/b": 1, "https://x/roles": 2, "realm": {"roles": 3, "a/b~": 4}}

    assert [claim_of(claims, name) for name in ("a/b", "https://x/roles", "/realm/roles", "/realm/a~1b~0", "/realm/x/y", "x")] == [
        1, 2, 3, 4, None, None]


@pytest.mark.parametrize(("said", "option"), [
    ({"algorithms": ("none",)}, "algorithms"), ({"algorithms": ()}, "algorithms"), ({"algorithms": ("HS256",)}, "algorithms"),
    ({"jwks": "https://x/keys"}, "jwks_file"), ({"jwks_file": None}, "jwks"), ({"jwks_file": "no such"}, "jwks_file"),
    ({"jwks_file": None, "jwks": "http://login.example/keys"}, "jwks"), ({"jwks_file": None, "jwks": "file:///etc/passwd"}, "jwks"),
    ({"jwks_file": None, "jwks": "https://u:p@x/keys"}, "jwks"), ({"claim_headers": {"Host": "x"}}, "claim_headers"),
    ({"jwks_file": None, "secret": "env:NO_SUCH"}, "secret"), ({"jwks_file": None, "secret": "literally"}, "secret"),
    ({"jwks_file": None, "secret": "env:SHORT", "algorithms": ("HS256",)}, "secret"),
    ({"jwks_file": None, "secret": "env:LONG"}, "algorithms"), ({"audience": ()}, "audience"),
    ({"jwks_file": None, "jwks": "https://x/keys", "ca_file": "no such"}, "ca_file")])
def test_settings_that_could_not_hold_are_mistakes(keys_file, monkeypatch, said, option):
    monkeypatch.setenv("SHORT", "x")
    monkeypatch.setenv("LONG", "x" * 32)
    with pytest.raises(ConfigError) as caught:
        Jwt(**{"issuer": ISSUER, "audience": ("shop",), "jwks_file": str(keys_file), **said})
    assert caught.value.option == option


def test_a_table_must_say_whose_tokens_and_for_whom(tmp_path, keys_file):
    from tests.gateway.filters.test_filters_in_the_file import SERVICE

    with pytest.raises(ConfigFileError) as caught:
        load_text(tmp_path, f'[filters.login]\nuse = "jwt"\njwks_file = "{keys_file}"\nalgoritms = ["RS256"]\n{SERVICE}')
    assert {(each.key, each.message) for each in caught.value.mistakes} == {
        ("filters.login.issuer", "is missing"), ("filters.login.audience", "is missing"),
        ("filters.login.algoritms", "unknown setting; did you mean algorithms?")}

    text = f'[filters.login]\nuse = "jwt"\njwks_file = "{keys_file}"\nissuer = false\naudience = "shop"\n{SERVICE}'
    target = load_text(tmp_path, text).filters["login"].target
    assert (target.issuer, target.audience) == (None, ("shop",))
