"""Tokens and keys of a made-up issuer."""

from __future__ import annotations

import base64
import json
import time

import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

ISSUER = "https://login.example"
_made: dict[str, object] = {}


def private(name, bits=2048):
    """A private RSA key, made once for each name; "ec" and "ed" begin the names of others."""
    if name not in _made:
        _made[name] = ec.generate_private_key(ec.SECP256R1()) if name.startswith("ec") else \
            ed25519.Ed25519PrivateKey.generate() if name.startswith("ed") else \
            rsa.generate_private_key(public_exponent=65537, key_size=bits)
    return _made[name]


def jwk(name, **more):
    """The public key of this name as an entry of a set."""
    kind = ECAlgorithm if name.startswith("ec") else OKPAlgorithm if name.startswith("ed") else RSAAlgorithm
    entry = json.loads(kind.to_jwk(private(name).public_key()))
    return {**entry, "kid": name, "use": "sig", **more}


def key_set(*names):
    """The text of a set of keys."""
    return json.dumps({"keys": [jwk(name) for name in names]}).encode()


def claims(**more):
    """The claims of a good token, but for those that are None."""
    found = {"iss": ISSUER, "aud": "shop", "sub": "ada", "exp": int(time.time()) + 600, "scope": "orders:read", **more}
    return {name: value for name, value in found.items() if value is not None}


def token(key="a", algorithm="RS256", *, kid=..., headers=None, **more):
    """A token that is signed with the key of this name."""
    said = {"kid": key if kid is ... else kid, **(headers or {})}
    return jwt.encode(claims(**more), private(key), algorithm, headers={n: v for n, v in said.items() if v is not None})


def part(value):
    """A part of a token."""
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def signed(header, payload, key="a"):
    """A token whose parts are as given, with a good RS256 signature."""
    first = f"{part(header)}.{part(payload)}"
    return f"{first}.{part(private(key).sign(first.encode(), padding.PKCS1v15(), hashes.SHA256()))}"
