"""One key of a set that is not as it should be took all the others away: ``"key_ops": null`` raised TypeError.

A file with it ended ``resilience check`` with a traceback, and one that changed while the gateway ran gave 500 to everybody.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from resilience.errors import ConfigError
from resilience.gateway.filters.jwt import Jwt
from resilience.gateway.filters.key_set import keys_of

ODD: list[Any] = [None, 0, 1.5, True, "", "sig", [], [[]], {}, {"a": 1}, ["verify", None], "A" * 100_000, "\ud800", -1]


@pytest.fixture(scope="module", name="good")
def _good() -> dict[str, Any]:
    key: dict[str, Any] = json.loads(RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 2048).public_key()))
    key.pop("key_ops", None)
    return {**key, "kid": "good"}


@pytest.mark.parametrize("member", ["key_ops", "use", "kty", "alg", "crv", "kid", "n", "e", "d", "x", "p"])
def test_the_good_keys_of_a_set_stay_whatever_another_one_is(good: dict[str, Any], member: str) -> None:
    for odd in ODD:
        entries = [good, {**good, "kid": "odd", member: odd}, odd]
        assert len(keys_of(json.dumps({"keys": entries}).encode(), ("RS256", "EdDSA"))["good"]) == 1


def test_a_set_with_no_other_key_is_a_mistake_in_words(good: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": [{**good, "key_ops": None}]}))
    with pytest.raises(ConfigError, match="no key of the set can verify RS256"):
        Jwt(issuer="i", audience=None, jwks_file=str(path))
