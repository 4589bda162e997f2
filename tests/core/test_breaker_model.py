"""The circuit against a plain model that knows nothing of tallies, calls without a lock or running totals."""

import random

import pytest

from resilience.core.breaker import CircuitBreaker
from resilience.core.circuit import TRANSITIONS, Circuit
from resilience.core.events import Trigger
from resilience.core.outcome import CANCELLED, CUT_SHORT, FAILURE, IGNORED, REJECTED, SUCCESS, TIMEOUT
from resilience.errors import CircuitOpenError
from tests.seeds import over_seeds

OPERATOR = [Trigger.FORCED_OPEN, Trigger.FORCED_CLOSED, Trigger.DISABLED, Trigger.RELEASED, Trigger.RESET]


class Model:
    """A breaker in the plainest words. A permit is the number of the term that gave it, and its cohort if watched."""

    def __init__(self, config, now, random):
        self.config, self.random = config, random
        self.state, self.term, self.events, self.openings, self.until, self.ramp = "closed", 0, [], 0, None, None
        self.cohort = None
        self.watch(now)
        self.history(now)

    def history(self, now):
        self.origin, self.running, self.calls, self.in_a_row = now, 0, [], 0
        self.before, self.run_began = [], None  # the calls before a run of failures, and when that began

    def see(self, now):
        self.running = max(self.running, int((now - self.origin) // (self.config.window / self.config.buckets)))

    def window(self, c):
        if c.window_calls is not None:
            return self.calls[-c.window_calls:]
        return [call for call in self.calls if call[0] > self.running - c.buckets]

    def begin(self, trigger, state, now, told=None):
        old, self.state, self.term = self.state, state, self.term + 1
        self.until, self.ramp, self.cohort = None, None, None
        if state == "open":
            self.openings += 1
            self.u = self.random() if self.config.open_jitter else 0.0
            self.since, self.told = now, told
            self.until = now + self.wait() if told is None else told
        elif state == "half_open":
            self.rules = self.config
            self.free, self.passed, self.failed = self.config.half_open_calls, 0, 0
            self.until = now + self.config.half_open_for
        elif state in ("closed", "forced_closed"):
            if state == "closed":
                self.openings = 0
            if old not in ("closed", "forced_closed") or trigger == "reset":
                self.history(now)
            self.watch(now)
            self.see(now)
        self.events.append((old, state, str(trigger), self.term, now))

    def wait(self):
        c = self.config
        wait = c.open_for if c.open_growth == 1 else min(c.open_max, c.open_for * c.open_growth ** (self.openings - 1))
        return wait * (1 + c.open_jitter * self.u)

    def acquire(self, now):
        if self.state in ("forced_closed", "disabled"):
            return self.term, None
        if self.state == "closed":
            if self.too_slow(now):
                self.begin("slow_rate", "open", now)
                return None
            return self.enter(now)
        if self.until is not None and now >= self.until:
            if self.ramp is not None:
                self.begin("probes_passed", "closed", now)
                return self.enter(now)
            self.begin("probes_lost" if self.state == "half_open" else "wait_elapsed", "half_open", now)
        if self.state == "half_open" and self.ramp is not None:
            return (self.term, None) if self.on_ramp(now) else None
        if self.state == "half_open" and self.free:
            self.free -= 1
            return self.term, None
        return None

    def enter(self, now):
        if self.cohort is not None:
            self.cohort["calls"] += 1
        return self.term, self.cohort

    def watch(self, now):
        c = self.config
        if self.state != "closed" or c.slow_call is None or not c.slow_in_flight:
            self.cohort = None
            return
        if self.cohort is None:
            self.past = []
        elif self.cohort["slow_call"] == c.slow_call:
            return
        else:
            self.cohort["end"] = min(now, self.cohort["end"])
            self.past.append(self.cohort)
        self.begin_cohort(now)

    def begin_cohort(self, now):
        slow_call = self.config.slow_call
        self.cohort = {"end": now + slow_call / 8, "calls": 0, "slow_call": slow_call}

    def too_slow(self, now):
        if self.cohort is None or now < self.cohort["end"]:
            return False
        self.past.append(self.cohort)
        slow_call = self.config.slow_call
        self.begin_cohort(now)
        late = sum(cohort["calls"] for cohort in self.past if cohort["end"] + slow_call <= now)
        if not late:
            return False
        self.see(now)
        calls = self.window(self.config)
        slow, all_calls = late + sum(s for *_, s in calls), late + len(calls)
        return all_calls >= self.config.min_calls and slow / all_calls >= self.config.slow_rate

    def on_ramp(self, now):
        shares = self.rules.ramp_shares
        step = sum(now - self.ramp >= self.rules.ramp * (i + 1) / len(shares) for i in range(len(shares) - 1))
        if step > self.step:
            self.step, self.asked = step, []
        self.asked.append(sum(self.asked) < shares[self.step] * (len(self.asked) + 1))
        return self.asked[-1]

    def settle(self, permit, outcome, started, now):
        c = self.config
        term, cohort = permit
        if cohort is not None:
            cohort["calls"] -= 1
        if term != self.term or self.state == "disabled":
            return
        slow = c.slow_call is not None and now - started >= c.slow_call
        if outcome == SUCCESS:
            bad = False
        elif outcome in (FAILURE, TIMEOUT) or (outcome == REJECTED and c.count_rejections) or (
                outcome == CUT_SHORT and slow):
            bad = True
        else:
            if self.state == "half_open":
                self.free += 1
            return
        if self.state == "half_open" and self.ramp is None:
            self.failed += bad or slow
            self.passed += not (bad or slow)
            if self.failed > self.rules.half_open_failures:
                self.begin("probe_failed", "open", now)
            elif self.passed == self.rules.half_open_calls - self.rules.half_open_failures:
                if self.rules.ramp:
                    self.history(now)
                    self.ramp, self.step, self.asked, self.until = now, 0, [], now + self.rules.ramp
                else:
                    self.begin("probes_passed", "closed", now)
            return
        trigger = self.weigh(bad, slow, now, c if self.ramp is None else self.rules)
        if self.ramp is not None:
            if trigger:
                self.begin("probe_failed", "open", now)
            elif now >= self.until:
                self.begin("probes_passed", "closed", now)
        elif trigger and self.state == "closed":
            self.begin(trigger, "open", now)

    def weigh(self, bad, slow, now, c):
        self.see(now)
        self.calls.append((self.running, bad, slow))
        if not bad:
            self.before += [1] * self.in_a_row + [0]
            self.in_a_row = 0
        else:
            self.run_began = self.run_began if self.in_a_row else now
            self.in_a_row += 1
        calls = self.window(c)
        if c.consecutive is not None and self.in_a_row >= c.consecutive:
            return "consecutive"
        if len(calls) >= c.min_calls:
            if c.failure_rate is not None and sum(b for _, b, _ in calls) / len(calls) >= c.failure_rate:
                return "failure_rate"
            if c.slow_call is not None and sum(s for *_, s in calls) / len(calls) >= c.slow_rate:
                return "slow_rate"
        return "sustained_failures" if self.sustained(now, c) else None

    def sustained(self, now, c):
        n = self.in_a_row
        if c.sustained_failures is None or c.failure_rate is None or n < c.sustained_failures:
            return False
        usual = sum(self.before) / (len(self.before) + c.min_calls)
        return now - self.run_began >= c.window and (n >= c.min_calls or usual**n * 1_000_000 <= 1)

    def steer(self, trigger, now):
        if trigger == "released":
            if self.state.startswith("forced") or self.state == "disabled":
                self.begin(trigger, "closed", now)
        elif trigger == "reset":
            self.begin(trigger, "closed", now)
        elif self.state != trigger:
            self.begin(trigger, str(trigger), now)

    def hint(self, until, now):
        if self.state == "closed" and until > now:
            self.begin("fleet", "open", now, until)

    def configure(self, config, now):
        if self.config.window_calls is not None and self.ramp is None:
            self.calls = self.calls[-self.config.window_calls:]
        self.config = config
        self.watch(now)
        if self.state == "open":
            if self.told is None:
                self.until = self.since + self.wait()
        elif self.state in ("closed", "forced_closed"):
            if config.window_calls is not None:
                self.calls = self.calls[-config.window_calls:]
            self.see(now)

    def retry_after(self, now):
        if self.state in ("closed", "forced_closed", "disabled"):
            return None
        if self.state == "open":
            return max(0.0, self.until - now)
        if self.state == "half_open":
            return max(0.0, min(self.until - now, self.config.open_for))
        return None


def any_config(rng, window_calls):
    sparse = not window_calls
    slow_call, consecutive, probes = rng.choice([None, 1.0, 3.0]), rng.choice([None, None, 2, 5]), rng.choice([1, 2, 3])
    return CircuitBreaker(
        failure_rate=rng.choice([0.1, 0.25, 0.5, 0.55, 1.0, None if consecutive else 0.5]), consecutive=consecutive,
        sustained_failures=rng.choice([None, 2, 3]), min_calls=rng.choice([1, 3, 4, 4, 20 if sparse else 4]),
        window=8.0, buckets=4, window_calls=rng.choice([4, 8, 20]) if window_calls else None,
        open_for=rng.choice([1.0, 4.0]), open_growth=rng.choice([1.0, 2.0]), open_max=16.0,
        open_jitter=rng.choice([0.0, 0.5]), slow_call=slow_call, slow_rate=1.0 if slow_call is None else 0.5,
        slow_in_flight=rng.random() < 0.6,
        half_open_calls=probes, half_open_failures=rng.randrange(probes), ramp=rng.choice([0.0, 0.0, 6.0]),
        ramp_shares=rng.choice([(0.1, 0.25, 0.5), (0.4,)]), half_open_for=rng.choice([1.0, 8.0]),
        count_rejections=rng.random() < 0.5)


def ask(circuit, now):
    """The permit and its cohort, and None; or None, and how long to wait."""
    try:
        permit = circuit.acquire(now)
        if permit.cohort is not None:
            permit.cohort.append(None)
        return (permit, permit.cohort), None
    except CircuitOpenError as refusal:
        return None, refusal.retry_after


@pytest.mark.parametrize("troubled", [0.02, 0.2, 0.6])
@over_seeds(70)
def test_any_history_goes_as_the_plain_model_says(seed, troubled):
    rng = random.Random(f"{seed} {troubled}")
    config, seen = any_config(rng, window_calls=seed % 3 == 0), []
    draws = [random.Random(seed), random.Random(seed)]
    ours, plain = [lambda r=r: r.randrange(16) / 16 for r in draws]
    now, held = 5.0, []
    circuit = Circuit(config, key="k", group="g", now=now, emit=seen.append, random=ours)
    model = Model(config, now, plain)
    for _ in range(250):
        now += rng.choice([0, 0, 1, 3, rng.randrange(40), rng.randrange(300), -rng.randrange(20)]) / 16
        dice = rng.random()
        if dice < 0.03:
            trigger = rng.choice(OPERATOR)
            circuit.steer(trigger, now)
            model.steer(trigger, now)
        elif dice < 0.06:
            config = any_config(rng, window_calls=config.window_calls)
            circuit.configure(config, now)
            model.configure(config, now)
        elif dice < 0.08:
            until = now + rng.randrange(-16, 160) / 16
            circuit.hint(until, "others see it down", now)
            model.hint(until, now)
        elif dice < 0.5 and held:
            permits = held.pop(rng.randrange(len(held)) if rng.random() < 0.3 else -1)
            outcome = rng.choice([FAILURE, TIMEOUT, REJECTED, IGNORED, CANCELLED, CUT_SHORT]) \
                if rng.random() < troubled else SUCCESS
            started = now - rng.choice([0.0, 0.5, 1.0, 3.0])
            permit, cohort = permits[0]
            if cohort is not None:
                del cohort[-1]
            circuit.settle(permit, outcome, started, now)
            model.settle(permits[1], outcome, started, now)
        else:
            expected = model.acquire(now)
            permit, retry_after = ask(circuit, now)
            assert (expected is None) == (permit is None)
            if permit is not None:
                held.append((permit, expected))
            else:
                assert model.retry_after(now) == retry_after
        assert model.state == circuit.state
        assert model.retry_after(now) == circuit.retry_after(now)
        assert model.events == [(e.old, e.new, e.trigger, e.term, e.at) for e in seen]
    assert all(TRANSITIONS[e.old, e.trigger] is e.new for e in seen)
