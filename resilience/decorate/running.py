"""How a function is run: in which flavour, and which settings cannot be in force for it, each with the reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from ..engine.callables import flavour_of
from ..engine.wrapper_spec import Flavour
from ..errors import ConfigError
from ..policies.settings import Settings
from .declaration import Declaration

# Settings that cannot be in force for a function, each with the reason; commands keep these mappings as they are.
_ALL_CAN: Final[Mapping[str, str]] = {}
_IN_CONSUMERS_THREAD: Final[Mapping[str, str]] = {
    "timeout": "a generator runs in its consumer's thread, where no timeout can reach it; use timeout=None"}
_IN_CALLERS_THREAD: Final[Mapping[str, str]] = {
    "timeout": "in semaphore isolation a plain function runs in its caller's thread, where no timeout can reach it"}
_IN_ENTERING_THREAD: Final[Mapping[str, str]] = {
    "timeout": "a with block runs in the thread that enters it, where no timeout can reach it; use async with, or "
               "timeout=None with a deadline() around the block, which bounds what is called in it"}
#: Flavours that no timeout can reach, and what to use besides.
_BEYOND_REACH: Final[Mapping[Flavour, tuple[Mapping[str, str], str]]] = {
    Flavour.GENERATOR: (_IN_CONSUMERS_THREAD, ", or an async generator"), Flavour.BLOCK: (_IN_ENTERING_THREAD, "")}
_WITHOUT_TIMEOUT: Final[Mapping[str, str]] = {"timeout": "it has no timeout policy to configure"}
_DECORATED_WITHOUT: Final[Mapping[str, str]] = {
    "timeout": "it was decorated without a timeout, so it runs in its caller's thread, where none can reach it; "
               "decorate it with timeout=... or isolation='thread'"}


class Running(NamedTuple):
    """How a function is run; the same for all keys of a keyed one.

    Attributes:
        flavour: The way.
        cannot: Settings that cannot be in force for it, each with the reason.
        may_move: It runs on a worker thread once a file or its handle says a timeout.
        settings: What its declaration means for it.
        stated: The settings that this says anything about.
    """

    flavour: Flavour
    cannot: Mapping[str, str]
    may_move: bool
    settings: Settings
    stated: frozenset[str]


def running_of(fn: Callable[..., Any], declaration: Declaration, key: str) -> Running:
    """How *fn* is to be run.

    Raises:
        ConfigError: It cannot be run as its *declaration* says.
    """
    flavour, cannot = _checked(fn, declaration, key)
    return Running(flavour, cannot, declaration.may_move(flavour), *declaration.settings(flavour))


def _checked(fn: Callable[..., Any], declaration: Declaration, key: str) -> tuple[Flavour, Mapping[str, str]]:
    """How *fn* is to be run, and the settings that cannot be in force for it, each with the reason."""
    own = flavour_of(fn)
    flavour, timeout = declaration.runs(own), declaration.named("timeout")
    if declaration.isolation == "thread" and own is not Flavour.SYNC:
        raise ConfigError(f"{key}: isolation='thread' is for plain functions; {own.value} functions run where "
                          "they are awaited or iterated", "isolation")
    declaration.check_suited(flavour, key)
    if flavour in _BEYOND_REACH:
        cannot, instead = _BEYOND_REACH[flavour]
        if declaration.asks_for_timeout():
            raise ConfigError(f"{key}: {cannot['timeout']}{instead}", "timeout")
        return flavour, cannot
    if flavour.is_async:
        return flavour, _ALL_CAN if timeout is not None else _WITHOUT_TIMEOUT
    if flavour is Flavour.THREAD:
        return flavour, _ALL_CAN
    is_kept, may_move = declaration.isolation == "semaphore", declaration.may_move(own)
    if is_kept and declaration.asks_for_timeout():
        raise ConfigError(f"{key}: {_IN_CALLERS_THREAD['timeout']}; use isolation='thread' or timeout=None", "timeout")
    if declaration.pool is not None and not may_move:
        instead = "use" if is_kept else "add a timeout or"
        raise ConfigError(f"{key}: a pool means nothing without thread isolation; {instead} isolation='thread'", "pool")
    return flavour, _IN_CALLERS_THREAD if is_kept else _ALL_CAN if may_move else _DECORATED_WITHOUT
