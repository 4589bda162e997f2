"""A guarded ``functools.lru_cache`` could not be pickled, not even by its name, as guarded functions and bare caches can: a process pool
refused it. Python sends such a cache by its name, and what has that name is the guarded one.
"""

import functools
import multiprocessing
import pickle

import cloudpickle
import pytest

from resilience import Registry, command


@command(registry=Registry())
@functools.lru_cache
def price(book):
    return f"price of {book}"


class Shop:
    @command(registry=Registry())
    @functools.cache
    def stock(self):
        return 3


@pytest.mark.parametrize("pickler", [pickle, cloudpickle])
def test_it_goes_by_its_name(pickler):
    assert price is pickler.loads(pickler.dumps(price))
    assert Shop.stock is pickler.loads(pickler.dumps(Shop.stock))
    assert 3 == pickler.loads(pickler.dumps(Shop().stock))()
    guarded = command(registry=Registry(), timeout=None)(len)  # the name is of another one
    assert 4 == pickler.loads(pickler.dumps(guarded))("Emma")


@pytest.mark.process
def test_a_process_pool_takes_it():
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert ["price of Emma"] == pool.map(price, ["Emma"])
