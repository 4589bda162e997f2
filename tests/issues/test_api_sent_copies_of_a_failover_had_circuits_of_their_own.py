"""Each copy of a failover that nobody named had targets of its own in the process that it was sent to.

So the circuits of a worker that is sent a hundred jobs learned nothing from all but one. And a copy could not be
loaded at all where a command of one of its targets had other settings.
"""

import os
import pickle
import subprocess
import sys

import cloudpickle

from resilience import CircuitBreaker, Failover, command, default_registry, failover

_CHILD = """
import pickle, sys, logging
from resilience import Failover, command, default_registry
logging.disable(logging.CRITICAL)

@command(key="stated", timeout=None, failover=Failover(("eu", "us")), max_concurrent=3)
def other(*, target="eu"):
    return "other"

jobs = [pickle.loads(each) for each in pickle.load(sys.stdin.buffer)]
print([job() for job in jobs])
for each in default_registry:
    if "fetch" in each.key:
        print(each.key.rpartition(".")[2], each.state.value, sum(each.snapshot().counts.values()))
"""


def made_for(host):
    @failover(("eu", "us"))
    def fetch(*, target="eu"):
        if (host, target) == ("ill", "eu"):
            raise ConnectionError
        return f"{host} {target}"

    return fetch


def test_copies_of_one_failover_share_their_targets_commands_and_those_of_two_closures_do_not():
    ill, well = made_for("ill"), made_for("well")
    stated = command(key="stated", timeout=None, failover=Failover(("eu", "us")),
                     breaker=CircuitBreaker(consecutive=9))(lambda *, target="eu": f"stated {target}")
    try:
        sent = pickle.dumps([cloudpickle.dumps(job) for job in (ill, well, ill, well, stated)])
    finally:
        for key in [command.key for each in (ill, well, stated) for command in each.resilience]:
            default_registry.remove(key)
    child = subprocess.run([sys.executable, "-c", _CHILD], input=sent, capture_output=True, check=False,
                           env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})

    answers, *commands = child.stdout.decode().splitlines()
    assert answers == "['ill us', 'well eu', 'ill us', 'well eu', 'stated eu']", child.stderr.decode()
    assert sorted(commands) == ["fetch#2[eu] disabled 2", "fetch#2[us] disabled 0",
                                "fetch[eu] disabled 2", "fetch[us] disabled 2"]
