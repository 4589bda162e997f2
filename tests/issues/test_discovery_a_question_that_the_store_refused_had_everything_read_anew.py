"""A store that refused one question for good, as of a user without leave to write, was read from its beginning each second.

What it has told stays true: the connection was not lost, and it was not wiped.
"""

import asyncio
import random

import pytest

from resilience.discovery.registry.records import START, RecordsRefusedError
from resilience.gateway.config.shared import RegistryStoreSettings
from resilience.gateway.registry_records import RegistryRecords
from resilience.shared.redis_client import StoreAddress
from resilience.shared.store import StoreRefusalError
from tests.discovery.registry.test_storage import SHOP_A, assert_same, assert_stored, registers, sharing, within
from tests.discovery.registry.three_registries import end, on_virtual_time


class Refusing:
    """Refuses one kind of question, as long as it is told to, in the place of the store as one registry sees it."""

    def __init__(self, view, question):
        self.is_refusing, self.asked = True, 0
        answers = getattr(view, question)

        async def ask(*arguments):
            self.asked += 1
            if self.is_refusing:
                raise RecordsRefusedError("NOPERM")
            return await answers(*arguments)

        setattr(view, question, ask)


async def refused(question):
    net = sharing(random.Random(0))
    a, b, _ = net.nodes.values()
    await asyncio.sleep(3.0)
    storage = a.peers.storage
    view = Refusing(storage._records, question)
    registers(b, duration_s=300)
    registers(a, "b", duration_s=300)
    await asyncio.sleep(20.0)
    assert view.asked > 5
    assert storage.counts["read_from_start"] == 1
    assert "NOPERM" in storage.error
    assert not storage.report(a.now())["in_sync"]
    assert (SHOP_A in a.listed()) is (question == "write"), "what others write is still heard of"
    view.is_refusing = False
    await within(3.0, lambda: SHOP_A in a.listed() and ("SHOP", "b") in b.listed())
    await asyncio.sleep(2.0)
    assert storage.counts["read_from_start"] == 1
    assert_same(net)
    assert_stored(net)
    await end(net)


@pytest.mark.parametrize("question", ["write", "read"])
def test_what_was_read_is_still_known_and_what_was_refused_is_asked_again(question):
    on_virtual_time(refused, question)


async def test_a_refusal_of_redis_is_one_of_the_records(monkeypatch):
    records = RegistryRecords(RegistryStoreSettings(url="redis://127.0.0.1:1/0"), StoreAddress(url="redis://127.0.0.1:1/0"))

    async def run(*_):
        raise StoreRefusalError("NOPERM")

    monkeypatch.setattr(records._connection, "run", run)
    for question in (records.news(START, everything=False, vouches=False), records.read(["a"]), records.write(START, [])):
        with pytest.raises(RecordsRefusedError, match="NOPERM"):
            await question
