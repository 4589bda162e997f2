"""Circuit: the machine of a CircuitBreaker, a pure state machine that is told the time.

Rule 1: everything that decides a transition lives in this file, in terms.py, and in the table of transitions.py.
Rule 2: nothing here reads a clock, sleeps, logs or knows of async.

The *permit* handed out by acquire() is the current term itself. A term is one
stay in one state, so a late answer is recognised by identity: its permit is no
longer the current term, and it decides nothing.

Closed, every result is weighed at once: a window (of time, or of the last
calls) holds good and bad, fast and slow; once it has ``min_calls``, a failure
rate or slow-call rate at its threshold opens the circuit; so do ``consecutive``
failures in a row, and a run of failures that lasts (terms.py). As long as the window holds nothing bad, a good and fast
result cannot open it; it is then tallied without a lock (``lock_free_until``), which
is nearly every call of a healthy circuit. If calls can be slow, those under way
are counted (in_flight_cohorts.py), and weighed once they are slow.

Open, calls are refused until the wait is over; the first caller after that
starts a half-open term, which admits ``half_open_calls`` probes. All must
succeed to close the circuit, but for ``half_open_failures`` of them; one more
that fails, or is slow, opens it again, for longer if ``open_growth`` says so. A
half-open term ends by itself after ``half_open_for``: a probe that never answers
cannot wedge the breaker. With a ``ramp`` the term goes on after its probes: a
growing share of the calls is admitted and weighed as in a closed circuit, so
that a target which has just come back is not met by all of its callers at once.

A signal handler, or a finalizer that the garbage collector runs, may call in
while its own thread is at work under the lock (reentrance.py). What it reports then is
put off until that work is done; what it asks is refused if the answer needs the lock.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Final

from ..errors import CircuitOpenError, LastFailure
from .breaker import CircuitBreaker, time_open
from .circuit_checkpoint import CircuitCheckpoint
from .events import State, StateChanged, Trigger
from .failures import Failures
from .outcome import CANCELLED, CUT_SHORT, FAILURE, REJECTED, SUCCESS, TIMEOUT
from .reasons import FAILED, WORDS, verdict
from .reentrance import MET, ReentryGuard
from .stalls import NO_STALLS, Stalls
from .terms import BAD, GOOD, SLOW_BAD, SLOW_GOOD, Closed, Disabled, ForcedClosed, ForcedOpen, HalfOpen, Open, Term
from .transitions import FORCED_BY, TRANSITIONS

_GHOST: Final = Disabled(-1, -inf)  # the permit of a call that shadow mode let pass; no circuit's term ever


def _ever() -> float:
    """A horizon that never comes."""
    return inf


class Circuit:
    """The machine of a CircuitBreaker: a gate that refuses calls while their target looks down.

    Every method may be called from any thread. Listeners hear of a change after
    the lock is released. The compiled wrapper (engine.template) has acquire()
    and settle() of a healthy circuit written out, to save two calls: before its
    ``free_until`` a term is the permit without being asked, and a good result is
    bumped if it came in less than ``slow_s`` and before the term's ``lock_free_until``,
    which is past when the term is.
    """

    __slots__ = ("_config", "_failures", "_group", "_guard", "_horizon", "_key", "_openings", "_outage", "_random",
                 "_shadow", "_stalls", "slow_s", "term")
    _shadow: Callable[[], object] | None  # told of each call that would have been refused

    def __init__(self, config: CircuitBreaker, *, key: str, group: str, now: float,
                 emit: Callable[[StateChanged], None], random: Callable[[], float],
                 horizon: Callable[[], float] = _ever, failures: Failures | None = None,
                 stalls: Stalls = NO_STALLS) -> None:
        """Start closed.

        Args:
            config: When to open and how to recover.
            key: Named in refusals and events.
            group: Named in events.
            now: Seconds on the clock that every method is told.
            emit: Hears of every change, in the thread that caused it, outside the lock.
            random: Numbers in [0, 1), drawn when the circuit opens with jitter.
            horizon: Until when the caller may keep good results to itself, see ``lock_free_until``.
            failures: Where the caller notes what failed, before it reports so; named in refusals and events.
            stalls: Times that calls lost by no fault of the target.
        """
        self._key, self._group, self._random, self._stalls = key, group, random, stalls
        self._horizon, self._failures = horizon, Failures() if failures is None else failures
        self._guard = ReentryGuard(emit)
        self._config = config
        self._shadow = None
        self.slow_s = inf if config.slow_call is None else config.slow_call
        self.renew(now)

    @property
    def state(self) -> State:
        """What the circuit does with calls now."""
        return self.term.state

    def acquire(self, now: float) -> Term:
        """Ask to start one call.

        Args:
            now: Seconds on any monotonic clock, the same one for every call.

        Returns:
            A permit. Pass it to settle() exactly once. If it has a ``cohort``, put a token in that while the call is
            under way.

        Raises:
            CircuitOpenError: The call must not start.
        """
        term = self.term
        if now < term.free_until:
            return term
        if term.passes:
            self._stalls.look_out()
        if term.passes or now >= term.until or term.state is State.HALF_OPEN:
            permit = self._ask(now)
            if permit is not None:
                return permit
        shadow, term = self._shadow, self.term
        if term.state is State.FORCED_OPEN:
            raise CircuitOpenError(self._key, None, term.standing, self._failures.last, now)
        if shadow is None:
            raise CircuitOpenError(self._key, self.retry_after(now) or 0.0, term.standing, self._failures.last, now)
        shadow()
        return _GHOST

    def settle(self, permit: Term, outcome: int, started: float, now: float) -> None:
        """Report how the permitted call, begun at *started*, ended. Never raises."""
        slow = now - started >= self.slow_s
        if slow:
            slow = now - started - self._stalls.lost(started, now) >= self.slow_s
        if outcome == SUCCESS and now < permit.lock_free_until and not slow:
            permit.bump()
            return
        self._guard.do(self._weigh, permit, outcome, slow, now)

    def retry_after(self, now: float) -> float | None:
        """Seconds until asking again can help; None while calls are admitted, or while only an operator can help."""
        term = self.term
        if term.passes or term.state is State.FORCED_OPEN:
            return None
        # A probe under way ends when it ends: the usual wait is the best advice.
        return max(0.0, min(term.until - now, self._config.open_for)) if term.state is not State.OPEN \
            else max(0.0, term.until - now)

    def refuses(self, now: float) -> bool:
        """Whether a call would be refused now, as far as can be seen without asking: nothing is changed or counted."""
        term = self.term
        if term.state is State.FORCED_OPEN:
            return True
        if term.passes or self._shadow is not None or now >= term.until:
            return False
        return not isinstance(term, HalfOpen) or term.is_full

    @property
    def opened_at(self) -> float | None:
        """When it opened, over all probes that have failed since; None unless it is open or half open."""
        outage = self._outage
        return None if outage is None else outage[0]

    @property
    def is_halted(self) -> bool:
        """Whether it is open because its target asked the callers to wait."""
        term = self.term
        return isinstance(term, Open) and term.halted

    @property
    def shadow(self) -> Callable[[], object] | None:
        """What hears of each call that would have been refused, in shadow mode; None: the circuit refuses.

        In shadow mode the circuit goes through its states as ever, by the results of the calls that it would have
        admitted, and admits the others too. What an operator forced open refuses all the same.
        """
        return self._shadow

    @shadow.setter
    def shadow(self, shadow: Callable[[], object] | None) -> None:
        self._guard.do(self._set_shadow, shadow)

    def steer(self, trigger: Trigger, now: float) -> None:
        """An operator's word: FORCED_OPEN, FORCED_CLOSED, DISABLED, RELEASED or RESET.

        RELEASED of a circuit that nobody forced changes nothing.
        """
        self._guard.do(self._steer, trigger, now)

    def halt(self, until: float, now: float) -> None:
        """The target asked its callers to wait *until* then: refuse calls for so long, whatever else is heard of it.

        An open circuit stays open for so long at least; one that an operator steers stays as it is.
        """
        self._guard.do(self._halt, until, now)

    def hint(self, until: float, reason: str, now: float) -> None:
        """Enough other instances see the target down *until* then: open a closed circuit for as long.

        Any other one stays as it is: it knows more than they do. Afterwards it probes for itself, as ever.

        Args:
            until: When they will try it again.
            reason: Who sees it down, in a few words.
            now: As for acquire().
        """
        self._guard.do(self._hint, until, reason, now)

    def configure(self, config: CircuitBreaker, now: float) -> None:
        """Go on under *config*; state and statistics stay.

        An open circuit's wait is reckoned anew from when it opened; a half-open
        term keeps the probes it was given.
        """
        self._guard.do(self._adopt, config, now)

    def hears_at_once(self) -> None:
        """Its caller keeps no good results to itself, whatever the ``horizon`` says."""
        self._guard.do(self._hear_at_once)

    def save(self, now: float) -> CircuitCheckpoint:
        """The state to keep over a restart of the process; see restore()."""
        term = self.term
        state = State.OPEN if term.state is State.HALF_OPEN else term.state
        remaining = max(0.0, term.until - now) if isinstance(term, Open) else 0.0
        counts = tuple(term.counts(now)) if isinstance(term, Closed) else (0, 0, 0, 0)
        return CircuitCheckpoint(state=str(state), remaining=remaining, openings=self._openings, counts=counts)

    def restore(self, saved: CircuitCheckpoint, elapsed: float, now: float) -> None:
        """Go on where a circuit was that was saved *elapsed* seconds ago; one that has left its first term does not."""
        if self.term.seq:
            return
        operator = FORCED_BY.get(State(saved.state))
        if operator is not None:
            self.steer(operator, now)
        else:
            self._guard.do(self._restore, saved, elapsed, now)

    def renew(self, now: float) -> None:
        """Start over in a forked child."""
        self._guard.renew()
        self._openings = 0  # in a row, without a recovery in between
        self._outage: tuple[float, str, float] | None = None  # since it opened: when, why, and what else _stand() says
        self.term: Term = Closed(0, now, self._config, self._horizon, stalls=self._stalls)

    def _ask(self, now: float) -> Term | None:
        taken: list[Term] = []
        try:
            if self._guard.ask(self._answer, now, taken) is MET:
                return self.term if self.term.passes else None
        except BaseException:  # a listener was interrupted: its caller never gets the permit
            for permit in taken:
                self.settle(permit, CANCELLED, now, now)
            raise
        return taken[0] if taken else None

    # -- under the lock; what these return is told when it is free

    def _answer(self, now: float, taken: list[Term]) -> StateChanged | None:
        """Put a permit into *taken*, if there is one."""
        event = None
        trigger = self.term.ends_by if now >= self.term.until else self.term.look(now)
        if trigger is not None:
            event = self._begin(trigger, now)
        term = self.term
        if term.passes or (isinstance(term, HalfOpen) and term.admit(now)):
            taken.append(term)
        return event

    def _set_shadow(self, shadow: Callable[[], object] | None) -> None:
        self._shadow = shadow
        self._bar(self.term)

    def _steer(self, trigger: Trigger, now: float) -> StateChanged | None:
        state = self.term.state
        if trigger is Trigger.RESET or TRANSITIONS.get((state, trigger), state) is not state:
            return self._begin(trigger, now)
        return None

    def _halt(self, until: float, now: float) -> StateChanged | None:
        term = self.term
        if isinstance(term, Open):
            if until > term.until:
                term.until = term.told = until
                term.halted = True
                self._bar(term)
            return None
        return self._begin(Trigger.HALTED, now, until) if (term.state, Trigger.HALTED) in TRANSITIONS else None

    def _hint(self, until: float, reason: str, now: float) -> StateChanged | None:
        if until <= now or (self.term.state, Trigger.FLEET) not in TRANSITIONS:
            return None
        return self._begin(Trigger.FLEET, now, until, reason)

    def _adopt(self, config: CircuitBreaker, now: float) -> None:
        self._config = config
        self.slow_s = inf if config.slow_call is None else config.slow_call
        term = self.term
        if isinstance(term, Closed):
            term.adopt(config, now)
        elif isinstance(term, Open) and term.told is None:
            term.until = term.since + time_open(config, term.openings, term.u)
            self._bar(term)

    def _hear_at_once(self) -> None:
        self._horizon = _ever
        if isinstance(self.term, Closed):
            self.term.horizon = _ever

    def _restore(self, saved: CircuitCheckpoint, elapsed: float, now: float) -> StateChanged | None:
        term = self.term
        if saved.state == State.OPEN:
            event = self._begin(Trigger.RESTORED, now, now + max(0.0, saved.remaining - elapsed))
            self._openings = max(1, saved.openings)
            return event
        if isinstance(term, Closed) and (self._config.window_calls is not None or elapsed < self._config.window):
            term.recall(saved.counts, now)
        return None

    def _weigh(self, permit: Term, outcome: int, slow: bool, now: float) -> StateChanged | None:
        if permit is not self.term:  # a late answer from an earlier term
            return None
        if outcome == SUCCESS:
            trigger = permit.record(SLOW_GOOD if slow else GOOD, now)
        elif outcome in (FAILURE, TIMEOUT) or (outcome == REJECTED and self._config.count_rejections):
            trigger = permit.record(SLOW_BAD if slow else BAD, now)
        elif outcome == CUT_SHORT and slow:  # its caller was in haste, but it had as long as a slow call takes
            trigger = permit.record(SLOW_BAD, now)
        else:  # it told us nothing: let another caller try
            trigger = None
            if isinstance(permit, HalfOpen):
                permit.give_back()
        return None if trigger is None else self._begin(trigger, now)

    def _begin(self, trigger: Trigger, now: float, told: float | None = None, words: str = "") -> StateChanged:
        """Start the next term; *told*: until when somebody else says that it is open, and *words*: why."""
        old, config = self.term, self._config
        state, seq = TRANSITIONS[old.state, trigger], old.seq + 1
        previous = old if isinstance(old, Closed) and trigger is not Trigger.RESET else None
        new: Term
        if state is State.OPEN:
            self._openings += trigger is not Trigger.HALTED
            u = self._random() if config.open_jitter else 0.0
            new = Open(seq, now, config, self._openings, u, told)
            new.halted = trigger is Trigger.HALTED
        elif state is State.HALF_OPEN:
            new = HalfOpen(seq, now, config)
        elif state is State.CLOSED:
            self._openings = 0
            new = Closed(seq, now, config, self._horizon, previous, self._stalls)
        elif state is State.FORCED_CLOSED:
            new = ForcedClosed(seq, now, config, self._horizon, previous)
        else:
            new = (Disabled if state is State.DISABLED else ForcedOpen)(seq, now)
        reason = self._stand(new, old, trigger, words)
        self._bar(new)
        old.lock_free_until = -inf  # its permits must come to the lock, and be recognised as late
        self.term = new
        failure = self._failures.last
        return StateChanged(self._key, self._group, old.state, state, trigger, seq, now, reason,
                            None if failure is None else LastFailure(*failure))

    def _stand(self, new: Term, old: Term, trigger: Trigger, words: str) -> str:
        """Note in *new* what its refusals tell; why it began, in a few words.

        They tell the state, when and why the circuit opened, and since when a failure has to do with that. A failed
        probe opens it again, but is not why it is open.
        """
        if new.state not in (State.OPEN, State.HALF_OPEN):
            self._outage = None
            if new.state is State.FORCED_OPEN:
                new.standing = (str(new.state), new.since, WORDS[trigger], inf)
            return WORDS[trigger]
        if self._outage is None or trigger is Trigger.HALTED:
            weighed = old.weighed if isinstance(old, Closed) else None
            told_from = -inf if weighed is not None and trigger in FAILED else new.since
            self._outage = (new.since, words or verdict(trigger, weighed), told_from)
        since, why, told_from = self._outage
        failed = self._openings - 1
        if failed > 0:
            why = f"{why}, and {failed} {'probe' if failed == 1 else 'probes'} failed since"
        new.standing = (str(new.state), since, why, told_from)
        return why if new.state is State.OPEN else WORDS[trigger]

    def _bar(self, term: Term) -> None:
        """Say until when there is no need to ask; in shadow mode there always is."""
        if isinstance(term, Open):
            term.refuses_until = term.until if self._shadow is None else -inf
