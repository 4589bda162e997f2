"""The kit of failure rules: what a call amounts to, said next to the function, for all policies above it."""

from __future__ import annotations

from typing import Any, Final

from ..core.failure_rules import FailureRules, rules_meant
from ..engine.command_runtime import CommandRuntime
from ..engine.failure_judge import BEGINS_WITH_HEAD, FailureJudge, HeadJudge
from ..engine.kit import Afterwards, Kit, TelemetryItem
from ..engine.site import Site
from ..engine.wrapper_spec import Flavour
from ..errors import ConfigError

_ABOVE: Final = ("fallback", "cache", "retry", "failover", "breaker", "throttle", "rate_limit", "max_concurrent",
                 "adaptive_limit", "timeout", "stream_timeout", "hedge")
#: Some servers write a time since 1970 where seconds are due: that would be for ever.
_LONGEST_HALT_S: Final = 86_400.0


def _suits(rules: FailureRules, declaration: Any, flavour: Flavour, key: str) -> None:
    retry = None if declaration is None else declaration.named("retry")
    if retry is not None and retry.on_result is not None:
        raise ConfigError(f"{key}: on_result of the retry and failures both say which results are bad, and only the "
                          "latter is heard by breaker and statistics; say it in failures=FailureRules(results=...)",
                          "on_result")
    if rules.halts and declaration is not None and declaration.whole and declaration.named("breaker") is None:
        raise ConfigError(f"{key}: halts=True opens the circuit for as long as a busy target asks, and breaker=None "
                          "says that there is none; drop one of the two", "halts")


def _start(rules: FailureRules, runtime: CommandRuntime) -> FailureJudge:
    def halt(seconds: float) -> None:
        circuit, now = runtime.circuit, runtime.clock()
        if circuit is not None:
            circuit.halt(now + min(seconds, _LONGEST_HALT_S), now)

    return FailureJudge(rules, key=runtime.key, halt=halt)


def _change(judging: FailureJudge, rules: FailureRules | None, old: Any, runtime: CommandRuntime) -> Afterwards | None:
    judging.configure(rules)
    return None


def _install(site: Site, rules: FailureRules, judging: FailureJudge) -> None:
    accounting, is_retried = site.accounting, site.has("retry")
    accounting.judging = judging

    def raises_item(verdict: Any, items: int) -> bool:
        return judging.raises or (not items and (is_retried or accounting.may_answer(verdict)))

    site.names.update(judging=judging, raises_item=raises_item)
    if site.flavour.is_generator:
        site.judges = "items"
        if getattr(site.fn, BEGINS_WITH_HEAD, False):
            site.names["judging"] = HeadJudge(judging)
    elif site.has("hedge") or site.flavour.is_block:
        site.judges, site.called = "beneath", judging.over(site.called, site.flavour)
    else:
        site.judges = "results"


FAILURES: Final = Kit(
    name="failures",
    policy=FailureRules,
    noun="failure rules",
    about="Says which results and exceptions are failures, which mean that the target is busy, and which are the "
          "caller's fault.",
    below=dict.fromkeys(_ABOVE, "failure rules judge what the function itself returned or raised"),
    reads=rules_meant,
    can_be_off=True,
    suits=_suits,
    start=_start,
    change=_change,
    install=_install,
    events=(TelemetryItem("busy", "Calls that the target refused for now, as the failure rules say."),),
)
