"""The texts that the compiler makes of representative chains, kept as files.

A change of the compiler shows as a change of text here, for a reader to judge. After one that is meant,
``python -m tests.engine.test_golden_texts`` writes the files anew.
"""

from __future__ import annotations

import linecache
import pathlib
from typing import Any

import pytest

from resilience import (
    AdaptiveLimit,
    Bulkhead,
    Cache,
    Chaos,
    CircuitBreaker,
    Failover,
    FailureRules,
    Fallback,
    Hedge,
    Pipeline,
    RateLimit,
    Registry,
    Retry,
    StreamTimeout,
    Throttle,
    Timeout,
    command,
    http_status,
)
from resilience.engine import cache_texts, chaos_injection, fallback_runner
from resilience.engine.wrapper_spec import Flavour

pytestmark = pytest.mark.written_out

FOLDER = pathlib.Path(__file__).parent / "golden"


def plain(x: Any = 0) -> Any:
    return x


async def coroutine(x: Any = 0) -> Any:
    return x


def generator(x: Any = 0) -> Any:
    yield x


async def async_generator(x: Any = 0) -> Any:
    yield x


def http_status_rules() -> FailureRules:
    return FailureRules(status=http_status())


def item_rules() -> FailureRules:
    return FailureRules(items=bool)


FALLBACK = Fallback(lambda x=0: None)
ASYNC_HEDGE = Hedge(delay=0.1, idempotent=True)
FAILOVER = Failover(("eu", "us"), argument="x")
CHAINS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "sync breaker": (plain, (CircuitBreaker(),)),
    "sync failures": (plain, (CircuitBreaker(), http_status_rules())),
    "async retry failures timeout": (coroutine, (Retry(), Timeout(1.0), http_status_rules())),
    "thread cache failures": (plain, (Cache(), Timeout(1.0), http_status_rules())),
    "generator failures fallback": (generator, (FALLBACK, item_rules())),
    "async generator failures": (async_generator, (item_rules(),)),
    "sync bulkhead": (plain, (Bulkhead(10),)),
    "sync bulkhead wait": (plain, (CircuitBreaker(), Bulkhead(10, max_wait=1.0))),
    "async bulkhead wait": (coroutine, (Bulkhead(10, max_wait=1.0),)),
    "thread bulkhead wait": (plain, (Bulkhead(10, max_wait=1.0), Timeout(1.0))),
    "sync breaker bulkhead": (plain, (CircuitBreaker(), Bulkhead(10))),
    "sync fallback breaker": (plain, (FALLBACK, CircuitBreaker())),
    "sync retry": (plain, (Retry(attempts=3),)),
    "sync retry on result": (plain, (Retry(attempts=3, on_result=lambda result: result is None), CircuitBreaker())),
    "sync rate limit": (plain, (RateLimit(10),)),
    "sync rate limit cost": (plain, (RateLimit(10, cost=len, true_cost=len), Bulkhead(10))),
    "async generator rate limit cost": (async_generator, (RateLimit(10, cost=len, adaptive=True),)),
    "thread rate limit cost": (plain, (RateLimit(10, cost=len), Timeout(1.0))),
    "sync throttle": (plain, (Throttle(),)),
    "sync adaptive limit": (plain, (CircuitBreaker(), AdaptiveLimit())),
    "sync cache chaos": (plain, (Cache(), CircuitBreaker(), Chaos(error_rate=0.1))),
    "sync cache stale": (plain, (Cache(stale_if_error=60.0), CircuitBreaker())),
    "async cache stale": (coroutine, (Cache(stale_if_error=60.0), Retry(), Timeout(1.0))),
    "sync family": (plain, (FALLBACK, Cache(), Retry(attempts=3), CircuitBreaker(), Throttle(), RateLimit(10),
                            Bulkhead(10))),
    "thread timeout": (plain, (Timeout(1.0),)),
    "thread family": (plain, (FALLBACK, Retry(attempts=3), CircuitBreaker(), Throttle(), RateLimit(10), Bulkhead(10),
                              Timeout(1.0), ASYNC_HEDGE)),
    "thread breaker timeout": (plain, (CircuitBreaker(), Bulkhead(10), Timeout(1.0))),
    "async timeout": (coroutine, (Timeout(1.0),)),
    "async breaker bulkhead timeout": (coroutine, (CircuitBreaker(), Bulkhead(10), Timeout(1.0))),
    "async retry": (coroutine, (Retry(attempts=3), CircuitBreaker())),
    "async rate limit": (coroutine, (RateLimit(10),)),
    "async adaptive limit": (coroutine, (CircuitBreaker(), AdaptiveLimit(), Timeout(1.0))),
    "async family": (coroutine, (FALLBACK, Cache(), Retry(attempts=3), CircuitBreaker(), Throttle(), RateLimit(10),
                                 Bulkhead(10), Timeout(1.0), ASYNC_HEDGE)),
    "sync failover": (plain, (FAILOVER, CircuitBreaker())),
    "async failover": (coroutine, (FAILOVER, CircuitBreaker(), Timeout(1.0))),
    "async generator failover": (async_generator, (FAILOVER, CircuitBreaker())),
    "generator": (generator, (CircuitBreaker(), Bulkhead(10))),
    "generator family": (generator, (FALLBACK, CircuitBreaker(), Throttle(), RateLimit(10), Bulkhead(10))),
    "async generator": (async_generator, (CircuitBreaker(), Bulkhead(10))),
    "generator retry": (generator, (Retry(hold=2), StreamTimeout(total=1.0))),
    "async generator retry": (async_generator, (Retry(hold=2), StreamTimeout(first_item=1.0), item_rules())),
    "async generator family": (async_generator, (FALLBACK, CircuitBreaker(), Throttle(), RateLimit(10), Bulkhead(10),
                                                 Timeout(1.0))),
}
BLOCKS: dict[str, tuple[Any, ...]] = {
    "breaker bulkhead failures": (CircuitBreaker(), Bulkhead(10), http_status_rules()),
    "family": (CircuitBreaker(), Throttle(), RateLimit(10, cost=len, true_cost=len), Bulkhead(10, max_wait=1.0)),
}
BY_KEY = {"sync": plain, "async": coroutine, "generator": generator, "async generator": async_generator}


def text_of(wrapper: Any) -> str:
    """The text that *wrapper* was compiled from."""
    while not wrapper.__code__.co_filename.startswith("<resilience ") or \
            wrapper.__code__.co_filename.startswith("<resilience cache "):  # it stands above what is asked for
        wrapper = next(cell.cell_contents for cell in wrapper.__closure__
                       if "<resilience" in getattr(getattr(cell.cell_contents, "__code__", None), "co_filename", ""))
    return "".join(linecache.getlines(wrapper.__code__.co_filename))


def texts() -> dict[str, str]:
    """By name of the file."""
    found = {}
    for name, (fn, policies) in CHAINS.items():
        found[name.replace(" ", "_")] = text_of(Pipeline(*policies, key=name, registry=Registry())(fn))
    for name, fn in BY_KEY.items():
        found[f"by_key_{name.replace(' ', '_')}"] = text_of(command(key=lambda x=0: "key", registry=Registry())(fn))
    for flavour in (Flavour.SYNC, Flavour.ASYNC, Flavour.GENERATOR, Flavour.ASYNC_GENERATOR, Flavour.BLOCK,
                    Flavour.ASYNC_BLOCK):
        makers = {"chaos of": chaos_injection._text}
        if not flavour.is_block:
            makers["fallback of"] = fallback_runner._text
        if not (flavour.is_generator or flavour.is_block):
            makers |= dict.fromkeys(("cache of", "cache miss of", "cache rescue of", "cache refresh of"), cache_texts.cache_texts)
        for what, make in makers.items():
            make(flavour)
            found[f"{what} {flavour.value}".replace(" ", "_")] = "".join(
                linecache.getlines(f"<resilience {what} {flavour.value}>"))
    for name, policies in BLOCKS.items():
        made = Pipeline(*policies, key=name, registry=Registry()).block()
        found[f"block {name}".replace(" ", "_")] = text_of(made._wrapper())
        found[f"async block {name}".replace(" ", "_")] = text_of(made._async_wrapper)
    found["command_sync"] = text_of(command(registry=Registry(), isolation="semaphore")(plain))
    found["command_async"] = text_of(command(registry=Registry())(coroutine))
    return found


def test_every_chain_compiles_to_the_text_that_is_kept() -> None:
    kept = {file.stem: file.read_text() for file in FOLDER.glob("*.txt")}
    made = texts()
    assert sorted(kept) == sorted(made)
    for name, text in made.items():
        assert text == kept[name], f"the text of {name} has changed"


@pytest.mark.parametrize("name", ["sync_family", "async_family", "thread_family"])
def test_a_family_mentions_what_each_policy_does(name: str) -> None:
    text = (FOLDER / f"{name}.txt").read_text()
    for word in ("again(", "settle(", "throttle_acquire(", "reserve("):
        assert word in text


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.txt"):
        old.unlink()
    for name, text in texts().items():
        (FOLDER / f"{name}.txt").write_text(text)
