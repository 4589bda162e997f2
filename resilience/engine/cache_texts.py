"""Cache texts: the functions around a compiled wrapper that caching.py binds, written once for every flavour.

| text | is called | by |
|---|---|---|
| first look | in the place of the function | its callers |
| slow way | where the first look finds no answer | the first look |
| rescue | for a call that failed, and that something may answer for | the slow way |
| refresh | in the background, for an answer that is due | the slow way |
"""

from __future__ import annotations

import functools
from typing import Final

from ..core.outcome import Event
from .compiled_text import CompiledText, in_flavour
from .wrapper_spec import Flavour

#: What a hit counts as.
CACHED: Final = (int(Event.RESPONSES_FROM_CACHE),)

_FIRST_LOOK: Final = """\
{async_}def cached(*args, **kwargs):
    key = keys.of(args, kwargs) if special or kwargs else args
    try:
        entry = find(key)
    except TypeError:
        if keeps():
            keys.check(key, args, kwargs)
            raise
        entry = None
    now = clock()
    if entry is not None and now < entry.until:
        try:
            touch(entry)
        except KeyError:  # thrown out just now
            pass
        if now < recorder.edge:
            hit()
        else:
            {count}
        return entry.value
    return {await_}answer(key, args, kwargs)
"""

_SLOW_WAY: Final = """\
{async_}def answer(key, args, kwargs):
    answers, epoch, home = answers_for(key)
    if answers is None:
        result = {await_}call(*args, **kwargs)
        return unmarked({await_}rescue(result, None, key, args, kwargs)) if type(result) is Unanswered else result
    now = clock()
    if (found := answers.store.get(key, now)) is not None:
        if now >= found.due:
            refresh_ahead(refresh, answers, found, epoch, args, kwargs)
        {give}
    flight = Flight(key, home)
    try:
        with flight:
            while type(found := answers.next(flight)) is Flight:
                left = time_left()
                try:
                    {wait}
                    found = unless_in_vain(found, left, flight)
                except BaseException:
                    cancelled()
                    raise
                if found is None or (found.answered and answers_caller(found)):
                    break
            if found is not None:
                {give}
            try:
                result = {await_}call(*args, **kwargs)
                if type(result) is Unanswered:
                    result = {await_}rescue(result, answers, key, args, kwargs)
            except Exception as error:
                answers.failed(flight, error, epoch)
                raise
            return answers.came(flight, result, epoch)
    finally:
        try:
            answers.flights.leave(flight)
        except BaseException:  # an interrupt, and those who follow wait
            answers.flights.leave(flight)
            raise
        finally:
            del flight, found  # they know what is raised, and that knows this frame
"""

# Of a call that failed: what answers for it, marked. The error is the one that is being handled while a fallback runs.
_RESCUE: Final = """\
{async_}def rescue(unanswered, answers, key, args, kwargs):
    try:
        raise unanswered.take()
    except BaseException as error:
        stale = None if answers is None else stale_answer(answers, key, error)
        if stale is not None:
            return stale
        if not falls_back(error):
            raise
        return {await_}fall_back(error, args, kwargs)
"""

_REFRESH_TEXT: Final = """\
{async_}def refresh(answers, entry, epoch, args, kwargs):
    flight = Flight(entry.key, running_loop() if is_async else None)
    try:
        with flight:
            if answers.flights.lead_or_follow(flight) is not None:
                return
            began()
            try:
                result = {await_}call(*args, **kwargs)
                if type(result) is Unanswered:
                    raise result.take()
                answers.returned(flight, result, epoch, entry)
            except Exception as error:
                refresh_failed(answers, entry, epoch, error)
    finally:
        try:
            answers.flights.leave(flight)
        except BaseException:  # an interrupt, and those who follow wait
            answers.flights.leave(flight)
            raise
"""

_WAIT: Final = {
    Flavour.SYNC: "found = found.wait(left, flight)",
    Flavour.ASYNC: "found = await found.wait_async(left, flight)",
}

_GIVE: Final = {
    Flavour.SYNC: "return given(found, args, kwargs)",
    Flavour.ASYNC: """\
given_answer = given(found, args, kwargs)
return given_answer if found.error is None else await given_answer""",
}


@functools.cache
def cache_texts(flavour: Flavour) -> tuple[CompiledText, CompiledText, CompiledText, CompiledText]:
    """The first look, the slow way, what answers for a failed call, and the refresh."""
    name = flavour.value
    return (CompiledText(in_flavour(_FIRST_LOOK, flavour, count=f"recorder.count({CACHED}, now)"), f"cache of {name}"),
            CompiledText(in_flavour(_SLOW_WAY, flavour, give=_GIVE[flavour], wait=_WAIT[flavour]),
                         f"cache miss of {name}"),
            CompiledText(in_flavour(_RESCUE, flavour), f"cache rescue of {name}"),
            CompiledText(in_flavour(_REFRESH_TEXT, flavour), f"cache refresh of {name}"))
