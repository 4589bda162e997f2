"""Random histories of a failover over real circuits, in every flavour, against a plain oracle."""

import asyncio
import random

import pytest

from resilience import BadRequestError, CircuitBreaker, CircuitOpenError, Failover, FailureRules
from tests.engine.failover_rig import FLAVOURS, Rig

OPEN_FOR, GRACE = 5.0, 12.0
TARGETS = ("eu", "us", "asia")


class BusyError(Exception):
    def __init__(self, retry_after):
        super().__init__(retry_after)
        self.retry_after = retry_after


class PlainTarget:
    """One target: a circuit that opens at two failures in a row, and its rest."""

    def __init__(self):
        self.row, self.open_until, self.is_probing, self.is_forced = 0, None, False, False
        self.rest_until, self.paused_until = None, -1.0

    def refuses(self, now):
        return self.is_forced or (self.open_until is not None and now < self.open_until)

    def failed(self, now):
        self.row += 1
        if self.is_probing or self.row >= 2:
            self.open_until, self.is_probing, self.row = now + OPEN_FOR, False, 0
        return self.open_until is not None

    def admitted(self):
        if self.open_until is not None:
            self.open_until, self.is_probing = None, True


class Plain:
    def __init__(self):
        self.targets = {name: PlainTarget() for name in TARGETS}

    def call(self, answers, now):
        """Which targets run the function, and how the call ends: a word and the target it is about."""
        ran, refused, failed = [], {}, []
        while True:
            left = [name for name in TARGETS if name not in ran and name not in refused]
            if not left:
                return ran, ("failed", failed[-1]) if failed else ("refused", min(refused, key=refused.get))
            ready = [name for name in left if now >= self.targets[name].paused_until
                     and (self.targets[name].rest_until is None or now >= self.targets[name].rest_until)]
            name = ready[0] if ready else min(left, key=lambda each: max(
                self.targets[each].paused_until,
                float("-inf") if self.targets[each].rest_until is None else self.targets[each].rest_until))
            target = self.targets[name]
            is_probe = bool(ready) and target.rest_until is not None
            if target.refuses(now):
                refused[name] = float("inf") if target.is_forced else target.open_until
                if not target.is_forced:
                    target.rest_until = now + GRACE
                elif is_probe:
                    target.rest_until = now
                continue
            target.admitted()
            ran.append(name)
            answer = answers[name]
            if answer == "down":
                if target.failed(now) or is_probe:
                    target.rest_until = now + GRACE
                failed.append(name)
            elif answer == "busy":
                target.paused_until = max(target.paused_until, now + 3.0)
                if is_probe:
                    target.rest_until = now
                failed.append(name)
            elif answer == "fault":
                if is_probe:
                    target.rest_until = now
                return ran, ("fault", name)
            else:
                target.row, target.is_probing = 0, False
                if is_probe:
                    target.rest_until = None
                return ran, ("up", name)


def rig_of(flavour):
    return Rig(flavour, TARGETS, failover=Failover(TARGETS, argument="region", grace=GRACE, budget=None),
               breaker=CircuitBreaker(failure_rate=None, consecutive=2, open_for=OPEN_FOR),
               failures=FailureRules(busy=BusyError))


def answer_of(word, name):
    return {"up": f"from {name}", "down": ConnectionError(name), "busy": BusyError(3.0),
            "fault": BadRequestError(name)}[word]


async def history(flavour, seed):
    rng, rig, plain, words = random.Random(seed), rig_of(flavour), Plain(), dict.fromkeys(TARGETS, "up")
    for step in range(50):
        rig.clock.advance(rng.choice((0.0, 0.0, 1.0, 3.0, 5.0, 12.0)))
        if rng.random() < 0.4:
            name = rng.choice(TARGETS)
            words[name] = rng.choice(("up", "down", "down", "busy", "fault"))
            rig.answers[name] = answer_of(words[name], name)
        if rng.random() < 0.05:
            name = rng.choice(TARGETS)
            target, handle = plain.targets[name], rig.fn.resilience[name]
            if target.is_forced:
                handle.release()
            else:
                handle.force_open()
            target.is_forced = not target.is_forced
            target.row, target.open_until, target.is_probing = 0, None, False
        now = rig.clock()
        expected_ran, (how, about) = plain.call(words, now)
        try:
            result = await rig.call_async()
        except Exception as error:  # noqa: BLE001 - compared below
            result = error
        at = f"seed {seed}, step {step}"
        assert rig.took() == expected_ran, at
        assert len(expected_ran) <= len(TARGETS)
        if how == "refused":
            assert isinstance(result, CircuitOpenError), at
            assert result.key == f"fetch[{about}]", at
        else:
            assert result is rig.answers[about] or result == "good", at
        rig.assert_idle()


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_where_calls_go_is_what_the_plain_rules_say(flavour):
    async def histories():
        for seed in range(150 if flavour == "sync" else 40):
            await history(flavour, seed)

    asyncio.run(histories())
