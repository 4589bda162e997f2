"""A cache above ``collapse`` hung when its batch function asked for single items: they waited for the batch that asked.

A call that would wait for somebody who waits for it is executed by itself. That somebody waits in a batch was not known,
nor, in the batch, who waits for it.
"""

import asyncio
import random
import threading

import pytest

from resilience import Registry, cache, collapse, request_context
from resilience.testing import virtual_time
from tests.engine.collapsed import LONG, Clock, collapsed, waiting
from tests.seeds import over_seeds


def in_threads(*calls):
    """What *calls* return or raise, each in a thread of its own."""
    ends = {}

    def run(n, call):
        try:
            ends[n] = call()
        except Exception as error:  # noqa: BLE001 - looked at
            ends[n] = error

    threads = [threading.Thread(target=run, args=each, daemon=True) for each in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert len(ends) == len(calls), "a call waits for ever"
    return [ends[n] for n in range(len(calls))]


@pytest.mark.parametrize("scope", ["global", "request"])
def test_tasks_whose_batch_asks_for_an_item_that_is_in_it_get_their_answers(registry, scope):
    batches = []

    @cache(ttl=60.0, registry=registry, key="path")
    @collapse(window=0.01, scope=scope)
    async def path(ids):
        batches.append(ids)
        return {each: "root" if each == 1 else f"{await path(each // 2)}/{each}" for each in ids}

    async def page():
        with request_context():
            return await asyncio.gather(*map(path, (1, 2, 3, 7)))

    assert ["root", "root/2", "root/3", "root/3/7"] == virtual_time(page())
    assert [1, 2, 3, 7] == batches[0]


def test_threads_whose_batch_asks_for_an_item_that_is_in_it_get_their_answers(registry):
    batches = []
    clock = Clock(lambda: batches or waiting(single) == 2)  # time passes once both are in, and for what the batch asks

    def many(ids):
        batches.append(ids)
        return {each: "root" if each == 1 else f"{path(each // 2)}/{each}" for each in ids}

    single = collapsed(many, clock, window=LONG)
    path = cache(ttl=60.0, registry=registry, key="path")(single)

    assert ["root", "root/2"] == in_threads(lambda: path(1), lambda: path(2))
    assert [[1, 2], [1]] == [sorted(each) for each in batches]


def _graph(dice):
    """Functions by number, each with its layers; and whom the answer for an item of each is made of."""
    layers = [dice.choice((("cache", "collapse"), ("collapse",), ("cache",))) for _ in range(dice.randint(1, 3))]
    items = range(6)
    parts = {(number, item): [(dice.randrange(len(layers)), dice.randrange(item)) for _ in range(dice.randint(0, 2))]
             if item else [] for number in range(len(layers)) for item in items}

    def right(number, item):
        return 1 + sum(right(*part) for part in parts[number, item])

    return layers, parts, right


@over_seeds(60)
def test_any_history_of_tasks_whose_cached_and_collapsed_calls_are_made_of_others_ends_with_the_right_answers(seed):
    dice, registry, functions = random.Random(seed), Registry(), []
    layers, parts, right = _graph(dice)

    def made(number, names):
        at_once = dice.random() < 0.5

        async def one(item):
            await asyncio.sleep(dice.choice((0.0, 0.003)))
            wanted = parts[number, item]
            if at_once:
                return 1 + sum(await asyncio.gather(*(functions[other](part) for other, part in wanted)))
            return 1 + sum([await functions[other](part) for other, part in wanted])

        async def many(items):
            return dict(zip(items, await asyncio.gather(*map(one, items)), strict=True))

        if "collapse" not in names:
            return cache(registry=registry, key=f"f{number}")(one)
        call = collapse(window=dice.choice((0.0, 0.002)), max_batch=dice.choice((2, 100)))(many)
        return cache(registry=registry, key=f"f{number}")(call) if "cache" in names else call

    async def page():
        functions.extend(made(*each) for each in enumerate(layers))
        wanted = [(dice.randrange(len(layers)), dice.randrange(6)) for _ in range(8)]

        async def ask(number, item):
            await asyncio.sleep(dice.choice((0.0, 0.001, 0.004)))
            call = asyncio.ensure_future(functions[number](item))
            if dice.random() < 0.2:
                await asyncio.sleep(dice.choice((0.0, 0.002)))
                call.cancel()
                await asyncio.wait([call])
                return None
            return await call

        answers = await asyncio.gather(*(ask(*each) for each in wanted))
        assert all(answer in (None, right(*each)) for answer, each in zip(answers, wanted, strict=True))

    virtual_time(page())


@over_seeds(12)
def test_any_history_of_threads_whose_cached_and_collapsed_calls_are_made_of_others_ends_with_the_right_answers(seed):
    dice, registry, functions = random.Random(seed), Registry(), []
    layers, parts, right = _graph(dice)

    def made(number, names):
        def one(item):
            return 1 + sum(functions[other](part) for other, part in parts[number, item])

        if "collapse" not in names:
            return cache(registry=registry, key=f"f{number}")(one)
        call = collapse(window=0.001, max_batch=dice.choice((2, 100)))(lambda items: {each: one(each) for each in items})
        return cache(registry=registry, key=f"f{number}")(call) if "cache" in names else call

    functions.extend(made(*each) for each in enumerate(layers))
    wanted = [(dice.randrange(len(layers)), dice.randrange(6)) for _ in range(8)]

    assert [right(*each) for each in wanted] == in_threads(*(
        lambda number=number, item=item: functions[number](item) for number, item in wanted))
