"""Authentication and authorization from a file alone: real gateway, real sockets, and clients who lie."""

import hashlib

import pytest

from tests.gateway.filters import tokens
from tests.gateway.filters.tokens import ISSUER, key_set, token
from tests.gateway.harness import Upstream, parsed, problem, running, shared_upstream


def digest(key):
    return hashlib.sha256(key.encode()).hexdigest()


CONFIG = f"""
trusted_proxies = []
[services.up]
endpoints = ["{{url}}"]
[filters.login]
use = "jwt"
issuer = "{ISSUER}"
audience = "shop"
jwks = "{{issuer}}/keys"
claim_headers = {{{{ "X-Email" = "email" }}}}
optional = true
[filters.keys]
use = "api_keys"
query = "key"
optional = true
keys = [
    {{{{ id = "billing", sha256 = "{digest("billing.secret")}", consumer = "billing", scopes = ["orders:read"], tenant = "acme" }}}},
    {{{{ id = "old", sha256 = "{digest("old.secret")}", consumer = "old", enabled = false }}}},
]
[filters.known]
use = "access"
[filters.readers]
use = "access"
scopes = ["orders:read"]
[filters.admins]
use = "access"
roles = ["admin"]
[filters.only-ada]
use = "access"
consumers = ["ada"]
[filters.acme]
use = "access"
tenants = ["acme"]
[filters.office]
use = "access"
addresses = ["10.0.0.0/8"]
anonymous = true
[filters.here]
use = "access"
addresses = ["127.0.0.0/8"]
denied_addresses = ["127.0.0.9/32"]
anonymous = true
[[routes]]
path = "/open/*"
service = "up"
[[routes]]
path = "/known/*"
service = "up"
filters = ["login", "keys", "known"]
[[routes]]
path = "/readers/*"
service = "up"
filters = ["login", "keys", "readers"]
[[routes]]
path = "/admins/*"
service = "up"
filters = ["login", "keys", "admins"]
[[routes]]
path = "/ada/*"
service = "up"
filters = ["login", "keys", "only-ada"]
[[routes]]
path = "/acme/*"
service = "up"
filters = ["login", "keys", "acme"]
[[routes]]
path = "/office/*"
service = "up"
filters = ["office"]
[[routes]]
path = "/here/*"
service = "up"
filters = ["here"]
"""


@pytest.fixture(scope="module")
def issuer():
    made = Upstream()
    text = key_set("a")
    made.on("/keys", lambda call: call.send(f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\n\r\n".encode() + text))
    yield made
    made.close()


upstream = shared_upstream()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, upstream, issuer):
    config = CONFIG.format(url=upstream.url, issuer=issuer.url)
    with running(tmp_path_factory.mktemp("authentication"), config) as made:
        yield made


def bearer(**more):
    return f"Authorization: Bearer {token(**more)}\r\n"


def identity(call):
    return {name: call.header(name.encode()) for name in ("x-consumer", "x-scopes", "x-roles", "x-tenant", "x-email")
            if call.header(name.encode())}


def test_a_token_and_an_api_key_are_each_enough_and_the_upstream_is_told_who_it_is(gateway, upstream, issuer):
    assert gateway.get("/known/token", headers=bearer(email="ada@x", roles=["a,b", "c"]))[0] == 200
    assert identity(upstream.called("/known/token")) == {
        "x-consumer": [b"ada"], "x-scopes": [b"orders:read"], "x-roles": [b"a%2Cb,c"], "x-email": [b"ada@x"]}
    assert upstream.called("/known/token").header(b"authorization")

    assert gateway.get("/known/key", headers="X-API-Key: billing.secret\r\n")[0] == 200
    assert identity(upstream.called("/known/key")) == {
        "x-consumer": [b"billing"], "x-scopes": [b"orders:read"], "x-tenant": [b"acme"]}
    assert upstream.called("/known/key").header(b"x-api-key") == []

    assert gateway.get("/known/query?a=1&key=billing.secret&b=2")[0] == 200
    assert upstream.called("/known/query?a=1&b=2")
    assert issuer.count("/keys") == 1


def test_without_a_credential_there_are_challenges_and_the_upstream_hears_nothing(gateway, upstream):
    reply = gateway.get("/known/nobody")
    assert problem(reply)["status"] == 401
    raw = gateway.raw(b"GET /known/nobody HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n").lower()
    assert b"www-authenticate: bearer\r\n" in raw
    assert b'www-authenticate: apikey header="x-api-key"\r\n' in raw
    assert upstream.count("/known/nobody") == 0


@pytest.mark.parametrize("key", ["billing.wrong", "billing", "billing.", "nobody.secret", "old.secret", ".secret", "",
                                 "BILLING.secret", digest("billing.secret"), "x" * 5000])
def test_an_api_key_that_is_not_exactly_right_is_refused(gateway, upstream, key):
    assert gateway.get("/known/wrong-key", headers=f"X-API-Key: {key}\r\n")[0] == 401
    assert gateway.get(f"/known/wrong-key?key={key}")[0] == 401
    assert upstream.count("/known/wrong-key") == 0


def test_two_api_keys_in_one_request_are_refused(gateway, upstream):
    good = "X-API-Key: billing.secret\r\n"
    assert gateway.get("/known/two", headers=good + "X-API-Key: other.x\r\n")[0] == 400
    assert gateway.get("/known/two?key=other.x", headers=good)[0] == 400
    assert gateway.get("/known/two?key=billing.secret&k%65y=other.x")[0] == 400
    assert gateway.get("/known/two", headers=bearer() + bearer())[0] == 400
    assert upstream.count("/known/two") == 0


def test_an_api_key_in_authorization_stands_after_bearer_as_the_clients_of_many_vendors_send_it(tmp_path, upstream):
    config = CONFIG.format(url=upstream.url, issuer="http://127.0.0.1:1").replace(
        'use = "api_keys"\nquery = "key"', 'use = "api_keys"\nheader = "Authorization"').replace(
        'filters = ["login", "keys"', 'filters = ["keys"')
    with running(tmp_path, config) as gateway:
        for said, status in (("Bearer billing.secret", 200), ("bearer  billing.secret", 200), ("billing.secret", 401),
                             ("Basic billing.secret", 401), ("Bearer billing.other", 401), ("Bearer", 401)):
            reply = gateway.get("/known/bearer", headers=f"Authorization: {said}\r\n")
            assert (status, "Bearer" if status == 401 else None) == (reply[0], reply[1].get("www-authenticate")), said
    assert [b"billing"] == upstream.called("/known/bearer").header(b"x-consumer")
    assert [] == upstream.called("/known/bearer").header(b"authorization")


FORGED = ["X-Consumer", "x-consumer", "X_Consumer", "x_consumer", "X.Consumer", "X-Scopes", "X_Scopes", "X-Roles", "x_roles",
          "X-Tenant", "X-tenant", "X_TENANT", "X-Email", "X_Email"]


@pytest.mark.parametrize("credential", ["", "X-API-Key: billing.secret\r\n"])
def test_identity_headers_come_from_the_gateway_alone_whatever_a_client_spells(gateway, upstream, credential):
    lines = "".join(f"{name}: root\r\n" for name in FORGED)
    for path in ("/open/forged", "/known/forged"):
        status = gateway.get(path, headers=f"{lines}Connection: X-Consumer, X-Tenant\r\n{credential}")[0]
        if path == "/known/forged" and not credential:
            assert status == 401
            continue
        call = upstream.called(path)
        assert status == 200
        assert b"root" not in call.head
        assert identity(call) == ({} if path == "/open/forged" or not credential else {
            "x-consumer": [b"billing"], "x-scopes": [b"orders:read"], "x-tenant": [b"acme"]})


def test_what_a_consumer_is_called_cannot_become_more_than_one_header(gateway, upstream):
    odd = "ada\r\nX-Roles: admin, root \u20ac %"
    assert gateway.get("/known/odd", headers=bearer(sub=odd, scope="a b,c"))[0] == 200
    assert identity(upstream.called("/known/odd")) == {
        "x-consumer": [b"ada%0D%0AX-Roles:%20admin%2C%20root%20%E2%82%AC%20%25"], "x-scopes": [b"a b%2Cc"]}


@pytest.mark.parametrize(("path", "more", "status"), [
    ("/readers/x", {}, 200), ("/readers/x", {"scope": "orders:write"}, 403), ("/readers/x", {"scope": "orders:reader"}, 403),
    ("/readers/x", {"scope": None}, 403), ("/admins/x", {}, 403), ("/admins/x", {"roles": ["admin"]}, 200),
    ("/admins/x", {"roles": "user admin"}, 200), ("/admins/x", {"roles": ["administrator"]}, 403), ("/ada/x", {}, 200),
    ("/ada/x", {"sub": "bob"}, 403), ("/acme/x", {}, 403)])
def test_scopes_roles_consumers_and_tenants_are_asked_for_by_route(gateway, path, more, status):
    reply = gateway.get(path, headers=bearer(**more))
    assert reply[0] == status
    if status == 403:
        assert problem(reply)["status"] == 403
    if "scope" in more:
        assert reply[1]["www-authenticate"] == 'Bearer error="insufficient_scope", scope="orders:read"'


def test_an_acl_looks_at_the_connection_and_not_at_what_a_stranger_says_of_it(gateway, upstream):
    for header in ("X-Forwarded-For: 10.0.0.1\r\n", "X-Real-IP: 10.0.0.1\r\n", "Forwarded: for=10.0.0.1\r\n", ""):
        assert gateway.get("/office/x", headers=header)[0] == 403
        assert gateway.get("/here/x", headers=header)[0] == 200
    assert upstream.count("/office/x") == 0


def test_a_token_of_another_issuer_or_algorithm_is_refused_on_the_wire(gateway, upstream):
    none = f"{tokens.part({'alg': 'none'})}.{tokens.part(tokens.claims())}."
    for wrong in (token("stranger"), none, token() + "x", token(iss="https://evil.example")):
        reply = gateway.get("/known/bad", headers=f"Authorization: Bearer {wrong}\r\n")
        assert problem(reply)["status"] == 401
        assert reply[1]["www-authenticate"].startswith('Bearer error="invalid_token"')
        # a good key beside it does not make it good
        assert gateway.get("/known/bad", headers=f"Authorization: Bearer {wrong}\r\nX-API-Key: billing.secret\r\n")[0] == 401
    assert upstream.count("/known/bad") == 0


def test_authentication_is_in_the_statistics(gateway, issuer):
    gateway.get("/known/counted", headers=bearer())
    assert gateway.metric("success", "filter.login") > 0
    assert gateway.metric("success", "filter.login.keys") == issuer.count("/keys") > 0
    assert gateway.metric("failure", "filter.login") == 0


def test_pipelined_requests_are_each_authenticated_for_themselves(gateway, upstream):
    one = b"GET /known/piped%d HTTP/1.1\r\nHost: gw\r\n%b\r\n"
    good = b"X-API-Key: billing.secret\r\n"
    raw = gateway.raw(one % (1, good) + one % (2, b"") + one % (3, good + b"Connection: close\r\n"))
    assert [int(part[:3]) for part in raw.split(b"HTTP/1.1 ")[1:]] == [200, 401, 200]
    assert upstream.count("/known/piped2") == 0


def test_an_issuer_without_keys_lets_nobody_in(tmp_path, upstream):
    config = CONFIG.format(url=upstream.url, issuer="http://127.0.0.1:1").replace("optional = true", "optional = false", 1)
    with running(tmp_path, config) as gateway:
        reply = parsed(gateway.raw(f"GET /known/shut HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n{bearer()}\r\n".encode()))
        assert problem(reply)["status"] == 503
        assert reply[1]["retry-after"] == "1"
        assert "gives no keys: it cannot be reached" in gateway.stop()[1]
    assert upstream.count("/known/shut") == 0
