"""Which answers are compressed, and for whom; pure."""

import random

import pytest

from resilience.errors import ConfigError
from resilience.gateway.filters.compress import CompressFilter
from resilience.gateway.filters.content_coding import (
    TEXTS,
    MediaTypes,
    coded,
    may_be_coded,
    varied,
    without_digests,
)
from resilience.gateway.messages.content import prefers_gzip
from tests.seeds import over_seeds


@pytest.mark.parametrize(("said", "takes"), [
    ([], False), ([b""], False), ([b"gzip"], True), ([b"GZIP"], True), ([b"x-gzip"], True), ([b"gzip, deflate, br, zstd"], True),
    ([b"br", b"gzip;q=0.5"], True), ([b"gzip;q=0"], False), ([b"gzip;q=0.000"], False), ([b"gzip ; q=0.1"], True),
    ([b"*"], True), ([b"*;q=0"], False), ([b"gzip;q=0, *"], False), ([b"*;q=0, gzip;q=0.2"], True), ([b"br;q=1, *;q=0.5"], True),
    ([b"identity"], False), ([b"identity;q=0"], False), ([b"identity;q=0, gzip;q=0.3"], True), ([b"identity;q=0, *"], True),
    ([b"gzip;q=0.5, identity"], False), ([b"gzip, identity;q=0.5"], True), ([b"gzip;q=0.5, identity;q=0.5"], True),
    ([b"deflate"], False), ([b"br"], False), ([b"xgzip"], False), ([b"gzipped"], False), ([b"gzip;q=2"], False),
    ([b"gzip;q=x"], False), ([b"gzip;q="], False), ([b"gzip;level=9"], False), ([b",, gzip ,"], True)])
def test_gzip_is_for_those_who_take_it_and_do_not_prefer_the_answer_as_it_is(said, takes):
    assert prefers_gzip([(b"host", b"h"), *((b"accept-encoding", value) for value in said)]) is takes


def slowly(members):
    """What RFC 9110 12.5.3 says of (coding, weight in thousandths) members, each coding once."""
    weights = dict(members)
    gzip = weights.get("gzip", weights.get("x-gzip", weights.get("*", 0)))
    return gzip > 0 and gzip >= weights.get("identity", 0)


@over_seeds(300)
def test_any_list_of_codings_is_weighed_as_the_standard_says(seed):
    rng = random.Random(seed)
    names = rng.sample(["gzip", "identity", "*", "br", "deflate"], rng.randint(0, 5))
    members = [(name, rng.choice([0, 1, 500, 1000])) for name in names]
    texts = [name if weight == 1000 and rng.random() < 0.5 else
             rng.choice(["{}; q={:.3f}", " {};q={:.3f} ", "{} ;Q = {:.3f}"]).format(name, weight / 1000)
             for name, weight in members]
    cut = rng.randint(0, len(texts))
    lines = [(b"accept-encoding", ",".join(each).encode()) for each in (texts[:cut], texts[cut:])]

    assert prefers_gzip(lines) is slowly(members)


@pytest.mark.parametrize(("status", "headers", "may"), [
    (200, [("content-type", "text/html; charset=utf-8")], True), (200, [("content-type", "Application/JSON")], True),
    (200, [("content-type", "application/problem+json")], True), (200, [("content-type", "image/svg+xml")], True),
    (404, [("content-type", "text/plain")], True), (200, [("content-type", "text/plain"), ("content-encoding", "identity")], True),
    (200, [], False), (200, [("content-type", "image/png")], False), (200, [("content-type", "application/octet-stream")], False),
    (200, [("content-type", "application/grpc+json")], False), (200, [("content-type", "text/event-stream")], False),
    (200, [("content-type", "text/html"), ("content-type", "image/png")], False),
    (200, [("content-type", "text/html"), ("content-encoding", "br")], False),
    (200, [("content-type", "text/html"), ("cache-control", "max-age=5, No-Transform")], False),
    (204, [("content-type", "text/html")], False), (205, [("content-type", "text/html")], False),
    (206, [("content-type", "text/html")], False), (304, [], True), (304, [("content-type", "image/png")], False)])
def test_what_has_a_coding_or_a_range_or_gains_nothing_stays_as_it_is(status, headers, may):
    lines = [(name.encode(), value.encode()) for name, value in headers]
    assert may_be_coded(MediaTypes(TEXTS), status, lines) is may


def test_event_streams_are_compressed_only_if_they_are_named():
    assert not MediaTypes(["text/*"]).have("text/event-stream")
    assert MediaTypes(["text/*", "text/event-stream"]).have("text/event-stream")


@pytest.mark.parametrize(("before", "after"), [
    ([], [b"Accept-Encoding"]), ([b"Origin"], [b"Origin, Accept-Encoding"]), ([b"accept-encoding"], [b"accept-encoding"]),
    ([b"Origin, ACCEPT-ENCODING"], [b"Origin, ACCEPT-ENCODING"]), ([b"*"], [b"*"]), ([b"a", b"b"], [b"a", b"b, Accept-Encoding"]),
    ([b"x-accept-encoding"], [b"x-accept-encoding, Accept-Encoding"])])
def test_vary_names_accept_encoding_once(before, after):
    lines = [(b"vary", value) for value in before]
    assert [(b"vary", value) for value in after] == varied(lines) == varied(varied(lines))
    assert lines == [(b"vary", value) for value in before]


def test_what_held_for_the_bytes_alone_is_left_out_and_a_strong_tag_becomes_weak():
    gone = ["content-length", "content-encoding", "accept-ranges", "content-md5", "digest", "content-digest", "repr-digest"]
    lines = [(name.encode(), b"1") for name in gone]
    kept = [(b"etag", b'"a"'), (b"last-modified", b"x")]

    assert coded([*lines, *kept]) == [(b"etag", b'W/"a"'), (b"last-modified", b"x"), (b"content-encoding", b"gzip")]
    assert coded([(b"etag", b'W/"a"')])[0] == (b"etag", b'W/"a"')
    assert without_digests([*lines, (b"grpc-status", b"0")]) == [(b"grpc-status", b"0")]


@pytest.mark.parametrize("wrong", [
    {"types": ()}, {"types": ("image/png",)}, {"types": ("image/*",)}, {"types": ("application/grpc",)}, {"types": ("json",)},
    {"types": ("*/*",)}, {"types": ("Text/html",)}, {"level": 0}, {"level": 10}, {"min_size": -1}])
def test_a_setting_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ConfigError):
        CompressFilter(**wrong)
    CompressFilter(types=("image/svg+xml", "+xml", "text/*", "text/event-stream"), level=9, min_size=0)
