"""What came over HTTP/2 behind a head with status 204 or 304 was passed on as its body, which such an answer has not.

The gateway's own front leaves it out; uvicorn fails the application for it.
"""

from __future__ import annotations

import pytest

from tests.gateway.http2.peer import Connection, a_client, asked, peer


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_without_a_body_stays_so(status: int) -> None:
    def answer(connection: Connection, number: int) -> None:
        connection.answer(number, b"no", status if number == 1 else 200)

    async with peer(answer) as there, a_client() as client:
        assert (status, b"") == await asked(client, there)
        assert (200, b"no") == await asked(client, there)
        assert 1 == len(there.connections)
