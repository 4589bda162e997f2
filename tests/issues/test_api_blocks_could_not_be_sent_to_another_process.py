"""A block, and a function that is sent by value and uses one, could be sent to no other process.

Picklers raised a KeyError, or could not find a function of the block's; and a deep copy of an object that had a block
had a block of its own, or failed where it was entered.
"""

import asyncio
import copy
import os
import pickle
import subprocess
import sys

import cloudpickle
import pytest

from resilience import CircuitBreaker, RateLimit, Registry, block, default_registry

_CHILD = """
import pickle, sys
jobs = [pickle.loads(each) for each in pickle.load(sys.stdin.buffer)]
from resilience import default_registry
print([job() for job in jobs], default_registry["ledger"].snapshot().counts["success"],
      default_registry["ledger"].settings.max_concurrent, [command.key for command in default_registry])
"""


def test_jobs_that_use_a_block_share_its_command_and_live_settings_in_the_process_that_they_are_sent_to():
    ledger = block("ledger", timeout=None, breaker=CircuitBreaker(consecutive=3))

    def book():
        with ledger:
            return ledger.resilience.in_flight

    try:
        ledger.resilience.configure(max_concurrent=7)
        sent = pickle.dumps([cloudpickle.dumps(book), cloudpickle.dumps(book)])
    finally:
        default_registry.remove("ledger")
    child = subprocess.run([sys.executable, "-c", _CHILD], input=sent, capture_output=True, check=False,
                           env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert child.stdout.decode().strip() == "[1, 1] 2 7 ['ledger']", child.stderr.decode()


@pytest.mark.parametrize("pickler", [pickle, cloudpickle])
def test_a_pickled_block_is_a_block_of_the_same_command_for_both_statements(pickler):
    payments = block("payments", timeout=1.0, rate_limit=RateLimit(100, per=1.0, by=str))
    try:
        again = pickle.loads(pickler.dumps(payments))
        assert again.resilience is payments.resilience
        with pytest.raises(Exception, match="runs in the thread that enters it"):
            again.__enter__()

        async def pay():
            async with again("a"):
                return payments.resilience.in_flight

        assert asyncio.run(pay()) == 1
    finally:
        default_registry.remove("payments")


def test_a_copy_of_a_block_is_the_block_also_while_it_is_entered():
    ledger = block("ledger", timeout=None, registry=Registry())
    with ledger:
        assert copy.copy(ledger) is copy.deepcopy({"ledger": ledger})["ledger"] is ledger
    assert ledger.resilience.in_flight == 0


def test_an_entry_of_a_block_belongs_to_its_process():
    with block("ledger", timeout=None, registry=Registry()) as call:
        for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="BlockCall belongs to one process"):
                attempt(call)
