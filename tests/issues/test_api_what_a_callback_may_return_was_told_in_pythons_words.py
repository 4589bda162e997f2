"""What ``by`` and ``fair_by`` returned was "unhashable type: 'list'", ``hold_size`` "must be real number, not str", and ``error``
of a chaos "exceptions must derive from BaseException": neither the command nor the setting was named, nor what to return.
"""

import asyncio

import pytest

from resilience import AdaptiveLimit, Bulkhead, Chaos, RateLimit, Registry, Retry, command
from resilience.testing import assert_counts, assert_idle

UNHASHABLE = r"stock: {} must return something hashable, such as a string or a tuple, not \['a'\]: unhashable type: 'list'$"


@pytest.mark.parametrize("settings", [{}, {"cost": lambda skus: 1}])
def test_by_of_a_rate_limit(settings):
    stock = command(key="stock", registry=Registry(), timeout=None, rate_limit=RateLimit(5, by=lambda skus: skus, **settings))(len)
    with pytest.raises(TypeError, match=UNHASHABLE.format("by")):
        stock(["a"])
    assert_counts(stock, bad_request=1, exceptions_thrown=1)


class BadlyComparedKey:
    def __hash__(self):
        return 7

    def __eq__(self, other):
        raise TypeError("cannot be compared")


def test_a_key_that_can_be_hashed_and_not_compared_raises_what_it_raises():
    stock = command(key="stock", registry=Registry(), timeout=None, rate_limit=RateLimit(5, by=lambda skus: BadlyComparedKey()))(len)
    stock("a")
    with pytest.raises(TypeError, match="^cannot be compared$"):
        stock("a")


@pytest.mark.parametrize("limit", [
    {"max_concurrent": Bulkhead(1, max_wait=1.0, fair_by=lambda skus: skus)},
    {"adaptive_limit": AdaptiveLimit(initial=1, max_limit=1, max_queue=5, fair_by=lambda skus: skus)}])
async def test_fair_by(limit):
    @command(key="stock", registry=Registry(), timeout=None, **limit)
    async def stock(skus):
        await asyncio.sleep(0)

    answered, mistaken = await asyncio.gather(stock(["a"]), stock(["a"]), return_exceptions=True)
    assert answered is None
    with pytest.raises(TypeError, match=UNHASHABLE.format("fair_by")):
        raise mistaken
    assert_idle(stock)


@pytest.mark.parametrize("size", ["x", None, float("nan")])
def test_hold_size(size):
    @command(key="stock", registry=Registry(), timeout=None,
             retry=Retry(attempts=2, hold=2, hold_bytes=10, hold_size=lambda item: size))
    def stock():
        yield 7

    with pytest.raises(TypeError, match=f"^hold_size must return how many bytes an item has, a number, not {size!r}$"):
        next(stock())


@pytest.mark.parametrize(("error", "raised", "words"), [
    (lambda: "down", TypeError, "^error of a Chaos must return an exception, not 'down'$"),
    (lambda: KeyboardInterrupt, TypeError, "^error of a Chaos must return an exception, not <class 'KeyboardInterrupt'>$"),
    (lambda: OSError, OSError, "^$"), (lambda: OSError("down"), OSError, "^down$"), (OSError, OSError, "^$")])
def test_error_of_a_chaos(error, raised, words):
    registry = Registry()
    stock = command(key="stock", registry=registry, timeout=None, chaos=Chaos(error_rate=1.0, error=error))(len)
    registry.start_chaos(60.0)
    with pytest.raises(raised, match=words):
        stock("a")
