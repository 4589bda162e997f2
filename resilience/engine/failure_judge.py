"""FailureJudge: one command's failure rules, as its wrappers ask them.

A result that is judged failed becomes an exception, FailedResultError, where the function has returned. So every policy
above treats it as it treats any failure, each by the rules that it has already, and there is no second way through
them. What comes out at the top is the result again, unless a fallback answered or the rules say that it is raised.

Who judges calls code of the user and reads properties of other libraries' objects. What a rule about a result raises is
a mistake in that rule, and the caller's, as with every callback (core.callbacks). A rule about an exception must not
raise: the call's permits have yet to be given back, and the exception that is judged is the one that the caller needs
to see. Such a mistake is logged, once, and the exception counts as failed.
"""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable, Iterable
from typing import Any, Final

from ..core.callbacks import call_back
from ..core.exception_copy import cause_of
from ..core.exception_groups import is_a
from ..core.failure_rules import FailureRules, judges_items, status_rule
from ..core.http_status import HttpStatus, is_called_status, judge_of, status_of, verdicts_of
from ..core.outcome import FAILURE, IGNORED
from ..core.retry_after import asked_for
from ..core.verdict import OUTCOME_OF, Ending, FailedResultError, Verdict, is_signed, let_go, signed
from ..drivers.system_clock import wall_clock
from .block_body import UNSAID
from .callables import transparent_frame
from .wrapper_spec import Flavour

_log = logging.getLogger("resilience")
_CODES: Final = frozenset(range(100, 600))
_JUDGED: Final = "the result was judged {}"
_SAYS: Final = {True: Verdict.FAILED, False: Verdict.GOOD, None: None}

StatusJudge = Callable[[Any, int, dict[int, Verdict]], Verdict]
ResultJudge = Callable[[Any], FailedResultError | None]


@functools.lru_cache(maxsize=64)
def _read(statuses: HttpStatus) -> tuple[dict[int, Verdict], StatusJudge]:
    """What the status codes mean that are not good; not to be changed, for commands with the same rules share it."""
    return verdicts_of(statuses), judge_of(statuses)


@functools.lru_cache(maxsize=64)
def _good_codes(statuses: HttpStatus) -> frozenset[int]:
    """The codes that are good."""
    return _CODES.difference(_read(statuses)[0])


class FailureJudge:
    """The failure rules in force for a command. Every method may be called from any thread.

    Attributes:
        result: Given what a call returned: the error that stands for it if it is not good, else None.
        item: The same of an item of a stream.
        rules: The rules; configure() replaces them.
        good_codes: Where status codes alone decide about results: those that are good.
        is_called_status: Results keep it in ``status``, as aiohttp's do, and not in ``status_code``.
    """

    __slots__ = ("_halt", "_has_complained", "_key", "_status", "good_codes", "is_called_status", "item", "result",
                 "rules")
    result: ResultJudge
    item: ResultJudge

    def __init__(self, rules: FailureRules | None, *, key: str,
                 halt: Callable[[float], object] | None = None) -> None:
        """Judge by *rules*; *halt* is told for how many seconds a busy target asked its callers to wait."""
        self._halt = halt
        self._key, self._has_complained, self.is_called_status = key, False, False
        self.configure(rules)

    def configure(self, rules: FailureRules | None) -> None:
        """Judge by *rules* from now on; None: by none."""
        self.rules = rules
        status = None if rules is None else status_rule(rules)
        self._status = None if status is None else _read(status)
        self.good_codes: frozenset[int] = frozenset()
        good: ResultJudge = _good
        if rules is None:
            self.result = self.item = good
            return
        self.item = self._by_predicates(rules.judge, rules.items, is_item=True) if judges_items(rules) else good
        if rules.judge is None and rules.results is None:
            self.result = good if self._status is None else self._by_status(*self._status)
            if status is not None:
                self.good_codes = _good_codes(status)
        else:
            self.result = self._by_predicates(rules.judge, rules.results, is_item=False,
                                              further=None if self._status is None else self._by_status(*self._status))

    def error(self, error: Exception) -> int | None:
        """The Outcome of a call that raised *error*; None: no rule has an opinion. Never raises an Exception."""
        rules = self.rules
        return None if rules is None else self._asked(functools.partial(self._of_error, rules), error)

    def refuses(self, timeout: BaseException) -> bool:
        """Whether a call was waiting for a limit on the caller's own side when its *timeout* ended it. Never raises.

        That says nothing about the target, whoever ends the wait. The rules are asked about the cancellation that came
        out of the function: its traceback says where the call was.
        """
        rules, cancelled = self.rules, cause_of(timeout)
        return rules is not None and bool(rules.refused) and cancelled is not None and self._asked(
            functools.partial(speaks_of, rules.refused), cancelled) is True

    def _asked(self, rule: Callable[[Any], Any], error: BaseException) -> Any:
        try:
            return rule(error)
        except Exception as mistake:  # noqa: BLE001 - the user's code may raise anything
            if not self._has_complained:
                self._has_complained = True
                _log.error("%s: a failure rule raised %r when it was asked about %s; the call counts as failed, and "
                           "such a mistake is not logged again", self._key, mistake, type(error).__name__)
            return FAILURE

    def found_busy(self, error: BaseException) -> None:
        """A call was judged busy: halt all calls for as long as it asks, if the rules say so. Never raises."""
        if self._halt is None or self.rules is None or not self.rules.halts:
            return
        asked = asked_for(error, wall_clock)
        if asked is not None:
            self._halt(asked)

    def _of_error(self, rules: FailureRules, error: Exception) -> int | None:
        if is_signed(error, self):
            return OUTCOME_OF[error.verdict]
        verdict = _said(rules.judge(Ending(error=error))) if rules.judge is not None else None
        if verdict is not None:
            return IGNORED if verdict is Verdict.GOOD else OUTCOME_OF[verdict]  # raised all the same: no success
        if speaks_of(rules.caller_faults, error):
            return IGNORED
        if speaks_of(rules.refused, error):
            return OUTCOME_OF[Verdict.REFUSED]
        if speaks_of(rules.busy, error):
            return OUTCOME_OF[Verdict.BUSY]
        if rules.exceptions is not None and speaks_of(rules.exceptions, error):
            return FAILURE
        if self._status is not None and (status := status_of(error)) is not None:
            verdicts, judge = self._status
            if status in verdicts:
                return OUTCOME_OF[judge(error, status, verdicts)]
            if 300 <= status < 500:  # who asked for what has changed gets 304 as an exception of some clients
                return IGNORED
        return None if rules.exceptions is None else IGNORED

    def passes_on(self, error: BaseException) -> bool:
        """Whether *error* stands for a result that is the caller's all the same."""
        return is_signed(error, self) and self.rules is not None and not self.rules.raise_failures

    @property
    def raises(self) -> bool:
        """Whether what is judged failed is raised."""
        return self.rules is not None and self.rules.raise_failures

    def over(self, fn: Callable[..., Any], flavour: Flavour) -> Callable[..., Any]:
        """What a race of several attempts, or a block, calls in place of *fn*: it raises what is judged failed."""

        def judged(*args: Any, **kwargs: Any) -> Any:
            return self._or_raise(fn(*args, **kwargs))

        async def judged_async(*args: Any, **kwargs: Any) -> Any:
            return self._or_raise(await fn(*args, **kwargs))

        def judged_block(*args: Any, **kwargs: Any) -> Any:
            return self._or_raise((yield from fn(*args, **kwargs)))

        if flavour is Flavour.BLOCK:
            return transparent_frame(judged_block)
        return transparent_frame(judged_async if flavour.is_async else judged)

    @transparent_frame
    def _or_raise(self, result: Any) -> Any:
        error = None if result is UNSAID else self.result(result)
        if error is None:
            return result
        try:
            raise error
        finally:
            del error  # no cycle through this frame

    def over_layers(self, guarded: Callable[..., Any], flavour: Flavour) -> Callable[..., Any]:
        """What stands over all layers of a function, which are told of a failed result by its error."""
        passes_on = self.passes_on

        def unwrapped(*args: Any, **kwargs: Any) -> Any:
            try:
                return guarded(*args, **kwargs)
            except FailedResultError as error:
                if passes_on(error):
                    return error.result
                raise

        async def unwrapped_async(*args: Any, **kwargs: Any) -> Any:
            try:
                return await guarded(*args, **kwargs)
            except FailedResultError as error:
                if passes_on(error):
                    return error.result
                raise

        return transparent_frame(unwrapped_async if flavour.is_async else unwrapped)

    def _by_status(self, verdicts: dict[int, Verdict], judge: StatusJudge) -> ResultJudge:
        """Judge results by their status, which is all that most rules do."""
        fail = self._fail

        @transparent_frame
        def by_status(result: Any) -> FailedResultError | None:
            status = getattr(result, "status_code", None)
            if type(status) is not int:
                status = status_of(result)
                self.is_called_status = status is not None and is_called_status(result)
            if status not in verdicts:
                return None
            return fail(result, judge(result, status, verdicts), f"HTTP status {status}")

        return by_status

    def _by_predicates(self, judge: Callable[[Ending], Any] | None, is_failed: Callable[[Any], object] | None, *,
                       is_item: bool, further: ResultJudge | None = None) -> ResultJudge:
        fail = self._fail

        @transparent_frame
        def by_predicates(result: Any) -> FailedResultError | None:
            if judge is not None:
                verdict = _said(call_back(judge, (Ending(result, None, is_item),), None))
                if verdict is not None:
                    return None if verdict is Verdict.GOOD else fail(result, verdict)
            if is_failed is not None and call_back(is_failed, (result,), None):
                return fail(result, Verdict.FAILED)
            return None if further is None else further(result)

        return by_predicates

    def _fail(self, result: Any, verdict: Verdict, why: str = "") -> FailedResultError | None:
        if verdict is Verdict.GOOD:
            return None
        why = why or _JUDGED.format(verdict.value.replace("_", " "))
        return signed(FailedResultError(self._key, result, verdict, why, asked_for(result, wall_clock)), self)


class Head:
    """First item of a guarded stream that stands for the whole answer: the head of an HTTP response, before its body.

    Whoever takes the answer out empties it, so that a suspended wrapper keeps no answer alive: an answer that is
    dropped ends its call, and would not if the wrapper, which the answer itself keeps alive, kept it in turn.

    Attributes:
        answer: What the call would have returned if it were no stream.
        error: What stands for the answer if it is not good.
    """

    __slots__ = ("answer", "error")
    answer: Any

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.error: FailedResultError | None = None

    def take(self) -> Any:
        """Hand the answer out."""
        answer, self.answer = self.answer, None
        if self.error is not None:
            let_go(self.error)
        return answer


class HeadJudge:
    """The failure rules in force for a command whose streams begin with a Head: it is judged as a result is.

    The rules say nothing of the items after it, which are parts of a body.
    """

    __slots__ = ("_judging",)

    def __init__(self, judging: FailureJudge) -> None:
        self._judging = judging

    @transparent_frame
    def item(self, item: Any) -> FailedResultError | None:
        """Given an item of the stream: the error that stands for it if it is not good, else None."""
        if item.__class__ is not Head:
            return None
        item.error = error = self._judging.result(item.answer)
        return error

    @property
    def passes_on(self) -> Callable[[BaseException], bool]:
        """Whether an error stands for a result that is the caller's all the same."""
        return self._judging.passes_on


#: Attribute of a generator function whose streams begin with a Head.
BEGINS_WITH_HEAD: Final = "__resilience_head__"


def _good(result: Any) -> FailedResultError | None:
    return None


def _said(word: Any) -> Verdict | None:
    """The verdict that a judge's answer stands for.

    Raises:
        TypeError: It stands for none.
    """
    if word.__class__ is Verdict:
        return word
    try:
        return _SAYS[word]
    except (KeyError, TypeError):
        raise TypeError(f"failures must return a Verdict, True for failed, False for good, or None, not {word!r}") \
            from None


def speaks_of(rules: Iterable[Any], error: BaseException) -> bool:
    """Whether one of *rules*, each a class, a function or the name of either, means *error*."""
    for rule in rules:
        meant = imported(rule) if isinstance(rule, str) else rule
        if is_a(error, meant) if isinstance(meant, type) else callable(meant) and meant(error):
            return True
    return False


def imported(reference: str) -> Any:
    """What "module:Name" stands for; None while the module is not imported, or if it is a status code.

    Raises:
        AttributeError: The module has no such name.
    """
    module, colon, path = reference.partition(":")
    thing: Any = sys.modules.get(module)
    if not colon or thing is None:
        return None
    for step in path.split("."):
        thing = getattr(thing, step)
    return thing


transparent_frame(_good)
