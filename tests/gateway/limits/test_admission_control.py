"""Admission control: its limits under three times the load, in virtual time, and who gives a permit back."""

import asyncio
import random

import pytest

from resilience import Registry
from resilience.core.outcome import BUSY, CANCELLED, FAILURE, REJECTED, SUCCESS, TIMEOUT
from resilience.gateway import Gateway
from resilience.gateway.client_addresses import ClientAddresses
from resilience.gateway.config import GatewayConfig, GatewaySettings, RouteConfig, ServiceConfig, SheddingSettings
from resilience.gateway.filters.shed import ShedFilter
from resilience.gateway.limits.admission_control import AdmissionControl, admission_control_of, outcome_of
from resilience.gateway.logs.observed_request import ObservedRequest
from resilience.gateway.logs.observer import Observer
from resilience.gateway.messages.inbound import RequestHead
from tests.benchmarks.simulation import Adaptive, Change, Run, World, constant, exponential, lognormal

TENANTS = ["greedy", *(f"modest {n}" for n in range(9))]


class Inbound:
    hop = None
    trailers = ()

    def __init__(self, peer="192.0.2.1", headers=()):
        self.head = RequestHead("GET", b"/", b"", "1.1", "http", headers, (peer, 1), ("127.0.0.1", 80))


def control(clock=lambda: 0.0, **settings):
    return AdmissionControl(ShedFilter(**settings), ClientAddresses(lambda peer: peer.startswith("10.")), clock=clock)


def observed(route="/x", service="up", clock=lambda: 0.0, **inbound):
    made = ObservedRequest(Inbound(**inbound), clock)
    made.route, made.service = route, service
    return made


def ended(made):
    for ending in made.endings:
        ending(made)


class Waits(Adaptive):
    """One limit, and how long those waited who were answered in time."""

    def __init__(self, limiter):
        super().__init__(limiter)
        self.waits = []

    def settle(self, run, call, outcome):
        super().settle(run, call, outcome)
        if outcome == SUCCESS and run.now > 5.0:
            self.waits.append(run.now - call.came)

    def p99(self):
        return sorted(self.waits)[int(0.99 * len(self.waits))]


def overloaded(seed, service, *, load=3.0, important=0.1, seconds=30.0):
    """Half of the requests are the greedy tenant's; a tenth is important."""
    policy = Waits(control(tenant=("address",))._limit("up").limiter)
    world = World(changes=[Change(at=0.0, workers=20, service_s=0.05)], seconds=seconds, load=load, seed=seed, service=service)
    run = Run(world, policy, priority=lambda dice: 0 if dice.random() < important else 4,
              tenant=lambda dice: "greedy" if dice.random() < 0.5 else dice.choice(TENANTS[1:]))
    run.after(5.0, lambda: (run.came_by.clear(), run.good_by.clear()))  # until then the limit is being found
    return run.go(), policy


def answered(run):
    return sum(run.good_by[0, each] for each in TENANTS) / sum(run.came_by[0, each] for each in TENANTS)


@pytest.mark.parametrize("service", [exponential, lognormal, constant], ids=lambda service: service.__name__)
def test_at_three_times_the_load_goodput_tail_important_requests_and_tenants_are_as_promised(service):
    _, idle = overloaded(1, service, load=0.6, seconds=15.0)
    for seed in (1, 2) if service is exponential else (1,):
        run, policy = overloaded(seed, service)
        served = [run.good_by[4, each] for each in TENANTS]

        assert run.goodput(5.0, 30.0) >= 0.95
        assert policy.p99() <= 3.0 * idle.p99()
        assert answered(run) >= 0.995
        assert sum(served) ** 2 / (len(served) * sum(each * each for each in served)) >= 0.95


async def test_a_permit_comes_back_whatever_ends_the_request():
    made, inside = control(initial=1, max_limit=1, max_queue=1, max_queue_for=5.0, lag=None), observed()
    limiter = made._limit("up").limiter
    assert await made.admit(inside) is None
    assert limiter.in_flight == 1

    waits = observed()
    task = asyncio.ensure_future(made.admit(waits))
    await asyncio.sleep(0)
    refused = observed()
    answer = await made.admit(refused)  # the queue is full
    assert (answer[0], refused.refused, limiter.waiting) == (503, "shed", 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    ended(waits)
    ended(refused)
    assert (limiter.in_flight, limiter.waiting) == (1, 0)
    ended(inside)
    ended(inside)  # twice gives nothing back twice
    assert limiter.in_flight == 0


async def test_one_that_waits_gets_the_permit_of_one_that_leaves_even_if_it_is_cancelled_then():
    made, inside, waits = control(initial=1, max_limit=1, max_queue=1, max_queue_for=5.0, lag=None), observed(), observed()
    limiter = made._limit("up").limiter
    await made.admit(inside)
    task = asyncio.ensure_future(made.admit(waits))
    await asyncio.sleep(0)
    ended(inside)
    assert limiter.in_flight == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    ended(waits)
    assert limiter.in_flight == 0


async def test_a_service_that_hangs_fills_its_own_limit_and_nobody_elses():
    made = control(initial=1, max_limit=1, max_queue=0, lag=None)
    assert await made.admit(observed(service="hangs")) is None
    assert (await made.admit(observed(service="hangs")))[0] == 503
    assert await made.admit(observed(service="well")) is None

    shared = control(scope="gateway", initial=1, max_limit=1, max_queue=0, lag=None)
    assert await shared.admit(observed(service="hangs")) is None
    assert (await shared.admit(observed(service="well")))[0] == 503


@pytest.mark.parametrize(("sources", "inbound", "claims", "level"), [
    (("header:X-Priority",), {"peer": "10.0.0.1", "headers": [(b"x-priority", b"2")]}, {}, 2),
    (("header:X-Priority",), {"peer": "192.0.2.1", "headers": [(b"x-priority", b"2")]}, {}, 6),  # it is nobody's to say
    (("header:X-Priority",), {"peer": "10.0.0.1", "headers": [(b"x-priority", b"2"), (b"x-priority", b"0")]}, {}, 6),
    (("header:X-Priority",), {"peer": "10.0.0.1", "headers": [(b"x-priority", b"-1")]}, {}, 6),
    (("claim:tier", "route"), {}, {"tier": 1}, 1),
    (("claim:tier", "route"), {}, {"tier": True}, 3),
    (("claim:tier", "route"), {}, {"tier": 10}, 3),
    (("route",), {}, {}, 3),
    ((), {}, {}, 6),
])
async def test_how_important_a_request_is(sources, inbound, claims, level):
    class Identity:
        consumer = "c"

    made = control(priority=sources, route_priority={"/x": 3} if "route" in sources else {}, default_priority=6)
    came = observed(**inbound)
    came.identity = Identity()
    came.identity.claims = claims
    await made.admit(came)
    assert came.level == level
    made._lag.stop()


def over(*, waited_at=1.0, head_at=3.0, status=200, refused=None, admitted_at=0.0):
    made = observed()
    made.waited_at, made.head_at, made.status, made.refused, made.admitted_at = waited_at, head_at, status, refused, admitted_at
    return outcome_of(made)


def test_what_a_request_says_of_its_service():
    assert over() == (SUCCESS, 2.0)
    assert over(admitted_at=2.5) == (SUCCESS, 0.5)
    assert over(status=500) == (SUCCESS, 2.0)  # it answered
    assert over(status=503) == (BUSY, 2.0)
    assert over(status=504) == (TIMEOUT, 2.0)
    assert over(status=504, refused="timeout")[0] == TIMEOUT
    assert over(status=502, refused="unreachable")[0] == FAILURE
    for none in ("circuit_open", "full", "rate_limited", "throttled"):
        assert over(status=503, refused=none)[0] == REJECTED
    assert over(waited_at=None, status=401, refused="unauthenticated")[0] == REJECTED
    assert over(head_at=None, status=0)[0] == CANCELLED


async def test_the_timer_of_the_lag_ends_by_itself_when_nobody_comes():
    made = control(lag=0.05, adaptive=False)
    assert await made.admit(observed()) is None
    assert made._lag._timer is not None
    for _ in range(50):
        made._lag._look(0.0)
    assert made._lag._timer is None


async def test_when_the_loop_lags_the_least_important_are_turned_away():
    now = [0.0]
    made = control(lag=0.05, adaptive=False, route_priority={"/vital": 0}, clock=lambda: now[0])
    dice = random.Random(1)
    made._chance = dice.random

    async def answers(route):
        return [await made.admit(observed(route=route)) for _ in range(100)]

    assert not any(await answers("/vital") + await answers("/x"))
    now[0] = 0.2
    made.shedder.sample(0.5, now[0])
    assert not any(await answers("/vital"))
    refused = [answer for answer in await answers("/x") if answer is not None]
    assert len(refused) > 80
    assert (refused[0][0], dict(refused[0][1])[b"retry-after"]) == (503, b"1")
    made._lag.stop()


def test_every_ending_of_a_request_is_called_though_one_before_raises():
    observer, came, called = Observer(ClientAddresses(lambda peer: False)), observed(), []

    def interrupted(_):
        called.append("interrupted")
        raise KeyboardInterrupt

    for each in (interrupted, lambda _: called.append("permit"), interrupted, lambda _: called.append("last")):
        came.add_ending(each)
    with pytest.raises(KeyboardInterrupt):
        observer.end(came)
    assert called == ["interrupted", "permit", "interrupted", "last"]


def test_a_gateway_of_which_nothing_is_asked_observes_nothing_and_controls_no_admission():
    service = ServiceConfig(endpoints=("http://127.0.0.1:9",))
    said = {"services": {"up": service}, "routes": (RouteConfig(path="/*", service="up"),)}
    plain = Gateway(GatewayConfig(gateway=GatewaySettings(statistics=False), **said), registry=Registry())
    assert (plain.observer, plain._generation.public.admission_control) == (None, None)
    assert Gateway(GatewayConfig(**said), registry=Registry()).observer.access_log is None


def test_admission_control_is_kept_as_long_as_its_settings_are():
    registry, known = Registry(), ClientAddresses(lambda peer: False)
    first = admission_control_of(registry, SheddingSettings(), known)
    assert admission_control_of(registry, SheddingSettings(), known) is first
    assert admission_control_of(registry, SheddingSettings(initial=5), known) is not first


def test_a_stranger_s_claim_to_be_important_reaches_no_upstream():
    made, headers = control(priority=("header:X-Priority",)), [(b"accept", b"*/*"), (b"x-priority", b"0")]
    assert made.priorities.cleaned(observed(peer="192.0.2.1").head, headers) == [(b"accept", b"*/*")]
    assert made.priorities.cleaned(observed(peer="10.0.0.1").head, headers) == headers
    assert control().priorities.cleaned(observed(peer="192.0.2.1").head, headers) == headers
