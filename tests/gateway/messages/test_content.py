"""Content codings that are undone as a body comes, beside the whole of it."""

from __future__ import annotations

import gzip
import random
import zlib

from resilience.gateway.messages.content import ContentDecoder, beginning


def test_a_body_in_pieces_says_what_the_whole_of_it_does() -> None:
    for seed in range(300):
        draw = random.Random(seed)
        coding = draw.choice([b"gzip", b"deflate", b"br", b"gzip, gzip"])
        pack = zlib.compress if coding == b"deflate" else gzip.compress
        body = b"".join(pack(draw.randbytes(3) * draw.randrange(9)) for _ in range(draw.choice([1, 2, 99, 100, 101])))
        body = draw.choice([body, body[:draw.randrange(1, len(body) + 1)], body + draw.randbytes(9), draw.randbytes(9) + body])
        headers, most, size = [(b"content-encoding", coding)], draw.choice([1, 5, 5000]), draw.randrange(1, 9)
        decoder = ContentDecoder(headers, most)
        pieces = [decoder.piece(body[at:at + size]) for at in range(0, len(body), size)]
        known = [piece for piece in pieces if piece is not None]
        assert beginning(body, headers, most) == (b"".join(known) if len(known) == len(pieces) else None)


def test_what_follows_the_last_member_is_left_out_and_what_begins_with_none_is_unknown() -> None:
    headers, body = [(b"content-encoding", b"gzip")], gzip.compress(b"one") + gzip.compress(b"two")
    assert (b"onetwo", b"onetwo", None) == tuple(
        beginning(each, headers, 100) for each in (body, body + b"no member", b"no member" + body))
