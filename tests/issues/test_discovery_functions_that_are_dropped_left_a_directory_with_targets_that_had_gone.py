"""While no function with a key is alive, its instances come and go, too.

The next function with that key was guarded for those from before. If they had all gone, it could not be declared at all
("weights must be numbers of at least 0, one of them above 0"); else it called instances that had gone, and the
commands of these were never forgotten.
"""

from __future__ import annotations

import gc
import random
from collections.abc import Callable
from typing import Any

from resilience import Registry
from resilience.discovery import Directory, Instance, Listing
from tests.seeds import over_seeds

ALL = [Instance(url=f"http://10.0.0.{number}:80") for number in range(1, 7)]


class Nobody:
    async def listing(self) -> Listing:
        raise AssertionError("nobody asks")


def guarded(directory: Directory, most: int) -> Callable[..., str]:
    @directory.failover(timeout=None, most=most)
    def fetch(*, target: str = "") -> str:
        return str(target)

    return fetch


def check(functions: list[Any], names: set[str], most: int) -> None:
    for function in functions:
        targets = {each.key for each in function.resilience}
        assert targets <= {f"orders[{each}]" for each in names}
        assert min(most, len(names)) == len(targets)
        assert {f"orders[{function()}]" for _ in range(3)} <= targets


@over_seeds(40)
def test_functions_come_and_go_and_call_the_instances_that_there_are(seed: int) -> None:
    rng, registry = random.Random(seed), Registry()
    directory = Directory("orders", Nobody(), registry=registry)
    functions, current, most = list[Any](), list[Instance](), 3
    for _ in range(25):
        what = rng.random()
        if what < 0.4:
            current = rng.sample(ALL, rng.randint(1, 6))
            directory._have(current)
        elif what < 0.7 or not functions:
            most = most if functions else rng.randint(1, 6)
            functions.append(guarded(directory, most))
        else:
            rng.shuffle(functions)
            del functions[rng.randrange(len(functions)):]
            gc.collect()
        names = {each.name for each in current}
        if current:
            check(functions, names, most)
        left = {each.key for each in registry}
        assert left <= {f"orders[{each}]" for each in names}, "the commands of what has gone are forgotten"
