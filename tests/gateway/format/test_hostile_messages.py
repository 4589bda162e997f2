"""Whatever a client sends is refused or passed: a check never fails itself, and never takes long."""

import gzip
import json
import random
import time
import zlib

import pytest

from resilience.gateway.format.openapi import OpenApi
from resilience.gateway.format.schema import schema_of
from resilience.gateway.format.schema_filter import JsonSchemaFilter
from resilience.gateway.messages.content import BrokenCodingError, TooLargeError, UnknownCodingError, decoded
from tests.gateway.format.test_openapi import SHOP
from tests.gateway.format.test_schema import ORDER

PIECES = [b"{", b"}", b"[", b"]", b'"', b"\\", b",", b":", b"1", b"-", b"e9", b"null", b'"id"', b'"lines"', b"\xff", b"\x00", b" ", b"\\u", b"d8", b"NaN", b"\n"]


@pytest.fixture(scope="module")
def order(tmp_path_factory):
    file = tmp_path_factory.mktemp("schema") / "order.json"
    file.write_text(json.dumps(ORDER))
    return JsonSchemaFilter(request=str(file)), schema_of(str(file))


def test_random_bodies_in_random_codings_get_one_of_the_few_answers(order):
    checks, schema = order
    seen = set()
    for seed in range(6000):
        rng = random.Random(seed)
        if rng.random() < 0.5:
            body = b"".join(rng.choice(PIECES) for _ in range(rng.randrange(20)))
        else:
            body = bytearray(json.dumps({"id": rng.choice([1, "x", None]), "lines": [{"sku": "A"}] * rng.randrange(3)}).encode())
            for _ in range(rng.randrange(3)):
                body[rng.randrange(len(body))] = rng.randrange(256)
        coding = rng.choice([b"", b"gzip", b"deflate", b"identity", b"br", b"gzip, gzip", b"GZIP", b",", b"\xff"])
        if coding.lower() == b"gzip" and rng.random() < 0.9:
            body = bytearray(gzip.compress(bytes(body)))
            if rng.random() < 0.3:
                body[rng.randrange(len(body))] = rng.randrange(256)
        found = checks.body_fault(bytes(body), [(b"content-encoding", coding)] if coding else [], schema)
        assert found is None or (found.status in (400, 413, 415, 422) and found.detail)
        seen.add(None if found is None else found.status)
    assert seen == {None, 400, 415, 422}


def test_no_more_of_a_bomb_is_made_than_may_be():
    for bomb, coding in ((gzip.compress(b"\0" * 30_000_000, 1), b"gzip"), (zlib.compress(b"\0" * 30_000_000, 1), b"deflate")):
        before = time.thread_time()
        with pytest.raises(TooLargeError):
            decoded(bomb, [(b"content-encoding", coding)], 100_000)
        assert time.thread_time() - before < 0.1


def test_a_coding_is_undone_to_the_byte_and_whatever_is_off_is_broken():
    body = b"x" * 1000
    coded, head = gzip.compress(body), [(b"content-encoding", b"x-gzip")]
    assert decoded(coded, head, 1000) == body
    assert decoded(coded + coded, head, 2000) == body + body  # members
    for wrong in (coded[:-1], coded + b"x", coded + coded[:-1], b"", coded[:20], b"\x1f\x8b"):
        with pytest.raises(BrokenCodingError):
            decoded(wrong, head, 2000)
    with pytest.raises(TooLargeError):
        decoded(coded, head, 999)
    with pytest.raises(UnknownCodingError):
        decoded(coded, [(b"content-encoding", b"gzip"), (b"content-encoding", b"br")], 1000)
    assert decoded(body, [(b"content-encoding", b"identity")], 1000) == body


def test_no_parameters_of_a_request_make_a_check_fail(tmp_path):
    (tmp_path / "shop.yaml").write_text(SHOP)
    operation, _ = OpenApi(str(tmp_path / "shop.yaml")).find("GET", "/orders/7")
    for seed in range(3000):
        rng = random.Random(seed)
        query = b"".join(rng.choice([b"a", b"=", b"&", b"[", b"]", b"%", b"%ff", b"+", b",", b"id", b"%00"]) for _ in range(rng.randrange(12)))
        cookie = bytes(rng.randrange(1, 256) for _ in range(rng.randrange(12)))
        faults = operation.parameter_faults({"id": rng.choice(["7", "", "9" * 200, "-0", "\ufffd", "1e5"])}, query, [(b"cookie", b"sid=" + cookie)], 5)
        assert all(fault.pointer.startswith("/") for fault in faults)


def test_a_body_of_the_allowed_size_takes_a_check_no_longer_than_a_moment(order):
    checks, schema = order
    size = checks.max_body
    for body in (b"[" + b"[]," * 9_000 + b"1]", b"[" + b"9," * (size // 2 - 2) + b"1]", b'{"id":1,"lines":[' + b'{"sku":"A"},' * 6_000 + b'{"sku":"a"}]}',
                 b"[" + b",".join([b"9" * 4299] * 60) + b"]", b'["' + b'\\"' * (size // 2 - 3), b"[" * size, b'{"":' * (size // 5)):
        assert len(body) <= size
        before = time.thread_time()
        assert checks.body_fault(body, [], schema) is not None
        assert time.thread_time() - before < 0.25
