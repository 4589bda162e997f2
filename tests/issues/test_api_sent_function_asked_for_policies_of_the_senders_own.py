"""A function of @command could not be loaded in a process that lacked a policy of the user's own, which it did not use.

It says something about every setting that the sender knows; the other process did not know one of them.
"""

import os
import subprocess
import sys

_SENDER = """
import sys, attrs, cloudpickle
from resilience import PolicyMachine, command, custom_policy

@custom_policy(name="spending_cap", about="Refuses what costs too much.")
@attrs.frozen
class SpendingCap:
    def machine(self, key, now):
        return PolicyMachine()

@command(key="stock", max_concurrent=3)
async def stock():
    return 7

sys.stdout.buffer.write(cloudpickle.dumps(stock))
"""
_RECEIVER = """
import asyncio, pickle, sys
stock = pickle.load(sys.stdin.buffer)
print(asyncio.run(stock()), stock.resilience.settings.max_concurrent)
"""


def output_of(program, sent=b""):
    child = subprocess.run([sys.executable, "-c", program], input=sent, capture_output=True, check=False,
                           env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert child.returncode == 0, child.stderr.decode()
    return child.stdout


def test_a_function_is_loaded_where_a_policy_that_it_does_not_use_is_unknown():
    assert output_of(_RECEIVER, output_of(_SENDER)).decode().strip() == "7 3"
