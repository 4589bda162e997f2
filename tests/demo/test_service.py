"""One of the demo's programs: what "dead" is to its clients, and that it comes back."""

import asyncio

import pytest

from resilience.demo.client import Client
from resilience.demo.service import Service
from resilience.gateway.messages.exchange import UpstreamError, UpstreamUnreachableError


def test_a_dead_program_refuses_connections_and_comes_back_at_the_same_port():
    async def main():
        service, client = Service("orders-primary"), Client()
        url = f"http://127.0.0.1:{await service.listen(0)}/items/1"
        try:
            assert 200 == (await client.get(url))[0]
            await service.become("dead")
            await service.become("dead")
            for _ in range(3):
                with pytest.raises(UpstreamUnreachableError):
                    await client.get(url)
            await service.become("well")
            status, body = await client.get(url)
        finally:
            client.close()
            service.close()
        return status, body

    status, body = asyncio.run(main())
    assert 200 == status
    assert b'"service": "orders-primary"' in body


def test_a_request_that_a_program_was_answering_breaks_when_it_dies():
    async def main():
        service, client = Service("orders-primary"), Client()
        url = f"http://127.0.0.1:{await service.listen(0)}/items/1"
        await service.become("hang")
        asking = asyncio.create_task(client.get(url))
        while not service._writers:
            await asyncio.sleep(0)
        await service.become("dead")
        try:
            with pytest.raises(UpstreamError):
                await asyncio.wait_for(asking, 30.0)
        finally:
            client.close()
            service.close()

    asyncio.run(main())
