"""Chains against Zuul 2's rules, told by a slow function that keeps no state but lists."""

import random

from resilience.errors import CallTimeoutError
from resilience.gateway import endpoint_filter, inbound_filter, outbound_filter
from resilience.gateway.config import FilterConfig
from tests.gateway.filters.chains import Bench
from tests.seeds import over_seeds

DECORATORS = {"inbound": inbound_filter, "endpoint": endpoint_filter, "outbound": outbound_filter}
ACTS = {"inbound": ["pass", "pass", "pass", "raise", "late", "stop", "answer", "refuse", "endpoint"],
        "endpoint": ["pass", "raise", "late", "answer", "answer", "refuse"],
        "outbound": ["pass", "pass", "raise", "late", "stop", "refuse", "status"]}


class Plan:
    """One filter of a random set."""

    def __init__(self, chance, name):
        self.name, self.kind = name, chance.choice(["inbound"] * 3 + ["endpoint"] + ["outbound"] * 2)
        self.order, self.act, self.waits = chance.randrange(3), chance.choice(ACTS[self.kind]), chance.random() < 0.5
        self.enabled, self.always = chance.random() < 0.9, chance.random() < 0.2
        self.closed = chance.random() < 0.3
        self.when = chance.choice([None, None, True, False, "raises"]) if self.kind != "endpoint" else None
        self.target = chance.choice(["b0", "b1", "nowhere", None])

    def __repr__(self):
        return repr(vars(self))


def made(plan, log):
    """The filter of a plan."""

    def act(context):
        log.append(plan.name)
        if plan.act == "raise":
            raise LookupError(plan.name)
        if plan.act == "late":
            raise CallTimeoutError(plan.name, 1.0)
        if plan.act == "stop":
            context.stop()
        if plan.act == "answer":
            context.answer(201, plan.name)
        if plan.act == "refuse":
            context.refuse(418, plan.name)
        if plan.act == "endpoint":
            context.endpoint = plan.target
        if plan.act == "status":
            context.response.status = 299

    async def waiting(context):
        act(context)

    def when(context):
        if plan.when == "raises":
            raise ArithmeticError(plan.name)
        return plan.when

    said = {"order": plan.order, "always": plan.always, "fail_closed": plan.closed, "name": plan.name}
    if plan.when is not None:
        said["when"] = when
    return FilterConfig.of(DECORATORS[plan.kind](**said)(waiting if plan.waits else act), enabled=plan.enabled)


class Oracle:
    """Says in which order the filters of *plans* run, and what status is sent."""

    def __init__(self, plans, on_route, error_endpoint):
        self.plans = sorted(plans, key=lambda plan: (plan.order, plan.name))
        self.endpoints = {plan.name: plan for plan in plans if plan.kind == "endpoint" and plan.enabled}
        self.error_endpoint = error_endpoint
        self.mine = [plan for plan in self.plans if plan.name in on_route and plan.enabled]
        self.log, self.errors, self.stopped = [], [], False

    def kind(self, kind):
        return [plan for plan in self.mine if plan.kind == kind]

    def runs(self, plan):
        """Whether it runs, and whether it is to be answered for if it does not."""
        if self.stopped and not plan.always:
            return False, None
        if plan.when == "raises":
            self.errors.append(plan.name)
            return False, 500 if plan.closed else None
        return plan.when in (None, True), None

    def run(self, plan):
        """What is refused by it, and what answered: (status, status)."""
        self.log.append(plan.name)
        if plan.act in ("raise", "late"):
            self.errors.append(plan.name)
            if plan.closed or plan.kind == "endpoint":
                return (500 if plan.act == "raise" else 503), None
        if plan.act == "stop":
            self.stopped = True
        return 418 if plan.act == "refuse" else None, 201 if plan.act == "answer" else None

    def exchange(self):
        refused, static = None, None
        endpoint = next((plan.name for plan in self.kind("endpoint")), None)
        for plan in self.kind("inbound"):
            if refused is not None:
                break
            runs, refused = self.runs(plan)
            if runs:
                refused, answer = self.run(plan)
                static = answer or static
                endpoint = plan.target if plan.act == "endpoint" else endpoint
        if refused is None and static is None:
            if endpoint is None:
                return self.outbound(200), True
            if endpoint not in self.endpoints:
                refused = 500
            else:
                refused, static = self.run(self.endpoints[endpoint])
                if static is None and refused is None:
                    refused = 500
        return self.outbound(static if refused is None else self.error(refused)), False

    def error(self, refused):
        """The status of an error response."""
        plan = self.endpoints.get(self.error_endpoint)
        if plan is not None:
            failures = len(self.errors)
            _, answer = self.run(plan)
            if answer is not None and failures == len(self.errors):
                return answer
        return refused

    def outbound(self, status):
        for first in (True, False):
            for plan in self.kind("outbound"):
                runs, refused = self.runs(plan)
                if runs:
                    refused, _ = self.run(plan)
                    status = 299 if plan.act == "status" else status
                if refused is not None and first:
                    status = self.error(refused)
                    break
            else:
                return status
        return status


@over_seeds(150)  # each compiles its commands
async def test_random_sets_of_filters_run_by_the_rules_of_zuul(seed):
    chance = random.Random(seed)
    plans = [Plan(chance, f"{chance.choice('abc')}{index}") for index in range(chance.randrange(1, 9))]
    endpoints = [plan.name for plan in plans if plan.kind == "endpoint"]
    on_route = {plan.name for plan in plans if plan.kind != "endpoint" and chance.random() < 0.9}
    on_route |= set(endpoints[:1]) if chance.random() < 0.3 else set()
    error_endpoint = chance.choice([None, *endpoints])
    log = []
    bench = Bench(*(made(plan, log) for plan in plans), error_endpoint=error_endpoint, on_route=on_route)
    if bench.chain is None:
        return
    oracle = Oracle(plans, on_route, error_endpoint)

    status, forwarded = oracle.exchange()
    client = await bench.get()

    assert (log, client.status, bench.sent is not None) == (oracle.log, status, forwarded), plans
    for name, step in bench.steps.items():
        counts = bench.registry[f"filter.{name}"].snapshot().counts
        assert counts["success"] + counts["failure"] + counts["timeout"] == log.count(name), step
