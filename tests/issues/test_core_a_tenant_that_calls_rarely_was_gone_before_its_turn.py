"""With many tenants in an adaptive limit the one that called most had several times the share of each other.

Where the queue stands a newcomer may wait for a few milliseconds only. So a tenant that called a few times in a second
had nobody there when its turn came, and the slot went to the one that had. The index fell with the number of tenants:
0.90 at 40, 0.73 at 100. Now that short wait is for newcomers of a tenant that always has somebody waiting.
"""

import heapq
import random

import pytest

from resilience.core.adaptive import AdaptiveLimit, AdaptiveLimiter
from resilience.core.admission_queue import STANDING, AdmissionQueue, Ticket
from resilience.core.outcome import SUCCESS
from resilience.errors import BulkheadFullError


def shares(tenants, *, load=3.0, seconds=20.0, slots=20, call_s=0.05):
    """Calls that each tenant got through when the first makes half of them and each wants more than its share."""
    dice, now, served = random.Random(7), 0.0, dict.fromkeys(range(tenants), 0)
    limit = AdaptiveLimit(initial=slots, min_limit=slots, max_limit=slots, max_queue=50, fair_by=lambda tenant: tenant)
    limiter, order = AdaptiveLimiter(limit, key="k", now=now), iter(range(10**9))
    events = [(0.0, next(order), "come", None)]

    def run(taken, tenant):
        served[tenant] += 1
        heapq.heappush(events, (now + dice.expovariate(1 / call_s), next(order), "end", taken))

    while events[0][0] < seconds:
        now, _, what, of = heapq.heappop(events)
        if what == "end":
            limiter.settle(of[0], SUCCESS, now - call_s, now)
        elif what == "leave":
            limiter.withdraw(of)
        else:
            heapq.heappush(events, (now + dice.expovariate(load * slots / call_s), next(order), "come", None))
            tenant, taken = 0 if dice.random() < 0.5 else dice.randrange(1, tenants), []
            try:
                limiter.take(taken)
                run(taken, tenant)
            except BulkheadFullError:
                ticket = Ticket(taken, 0, lambda taken=taken, tenant=tenant: taken and run(taken, tenant), tenant)
                try:
                    limiter.enqueue(ticket, now)
                except BulkheadFullError:
                    continue
                heapq.heappush(events, (ticket.until, next(order), "leave", ticket))
    return list(served.values())


@pytest.mark.parametrize("tenants", [10, 40, 100])
def test_shares_are_fair_however_many_tenants_there_are(tenants):
    got = shares(tenants)
    assert sum(got) ** 2 / (len(got) * sum(each * each for each in got)) >= 0.97


def test_only_who_always_has_somebody_waiting_is_short_of_time():
    queue = AdmissionQueue(100, 1.0, fair=True)

    def wait_of(tenant, now):
        ticket = Ticket([], 0, lambda: None, tenant)
        assert queue.join(ticket, now) is None
        return ticket, ticket.until - now

    for now in range(4):  # the greedy tenant never leaves the queue empty
        _, greedy = wait_of("greedy", float(now))
    assert greedy == pytest.approx(STANDING)
    rare, wait = wait_of("rare", 3.0)
    assert wait == 1.0
    assert wait_of("rare", 3.5)[1] == 1.0
    queue.close(rare)
    assert wait_of("greedy", 3.6)[1] == pytest.approx(STANDING)
    assert wait_of("rare", 4.1)[1] == pytest.approx(STANDING)
