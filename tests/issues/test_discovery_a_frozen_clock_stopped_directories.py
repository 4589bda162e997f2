"""Within freezegun's freeze_time a wait for a directory never ended, and its source was never asked again, after the freeze neither."""

import asyncio
import threading

import pytest
from freezegun import freeze_time

from resilience import Registry
from resilience.discovery import Directory, Listing


class Counted:
    """A source of which one can wait until it was asked again."""

    def __init__(self, *urls):
        self.urls, self.asked = urls, threading.Semaphore(0)

    async def listing(self):
        self.asked.release()
        return Listing.of(self.urls)

    def is_asked_again(self):
        while self.asked.acquire(blocking=False):  # before now
            pass
        return all(self.asked.acquire(timeout=10) for _ in range(2))


def directory_of(source):
    return Directory("orders", source, interval=0.05, registry=Registry())


def test_a_source_is_asked_within_a_freeze_and_after_it():
    source = Counted("http://10.0.0.1")
    with directory_of(source):
        with freeze_time("2033-01-01"):
            within = source.is_asked_again()
            later = Counted("http://10.0.0.2")
            with directory_of(later):
                begun_within = later.is_asked_again()
        after = source.is_asked_again()

    assert (True, True, True) == (within, begun_within, after)


@pytest.mark.parametrize("real_asyncio", [False, True])
def test_who_waits_within_a_freeze_goes_on_when_the_time_is_up(real_asyncio):
    results, directory = [], directory_of(Counted())

    def body():
        with freeze_time("2033-01-01", real_asyncio=real_asyncio):
            results.append(asyncio.run(directory.wait_async(0.01)))

    directory.start()
    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    thread.join(10)
    directory.close()

    assert [False] == results
