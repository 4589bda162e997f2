"""Error translation: the outermost layer of a guard whose entry says ``raise_as``, and of guarded clients.

It stands above all policies, so that these, and whoever listens to events, know an error of ours by its own class. What
leaves the wrapper is an instance of the vendor's class too; see core.vendor_errors. Errors that are the vendor's
already, and all that are not ours, pass as they are.

A generator stays a generator: what its consumer sends, throws and closes reaches the guarded one.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any, NoReturn, TypeAlias

from ..core.vendor_errors import RAISED_BY_GUARDS, context_of, with_context
from ..drivers.stream_leases import close, own
from .callables import transparent_frame
from .wrapper_spec import Flavour

#: Given an error of ours: the same error as one of the vendor's, too.
Twin: TypeAlias = Callable[[Exception], Exception]


def translated(guarded: Callable[..., Any], flavour: Flavour, twin: Twin) -> Any:
    """Return *guarded*, which runs as its *flavour* says, with errors of ours raised as *twin* makes them."""
    layer = {Flavour.ASYNC: _coroutine, Flavour.GENERATOR: _generator, Flavour.ASYNC_GENERATOR: _async_generator}
    return transparent_frame(layer.get(flavour, _function)(guarded, twin))


@transparent_frame
def _raise(error: Exception, twin: Twin) -> NoReturn:
    """Raise *error* as the vendor's; while it is handled, a raise alone would make it the context of its own twin."""
    theirs, context = twin(error), context_of(error)
    try:
        raise theirs
    except BaseException:
        with_context(theirs, context)
        raise
    finally:
        del theirs, context, error  # no cycle through this frame


def _function(guarded: Callable[..., Any], twin: Twin) -> Callable[..., Any]:
    def function(*args: Any, **kwargs: Any) -> Any:
        try:
            return guarded(*args, **kwargs)
        except RAISED_BY_GUARDS as error:
            _raise(error, twin)

    return function


def _coroutine(guarded: Callable[..., Any], twin: Twin) -> Callable[..., Any]:
    async def coroutine(*args: Any, **kwargs: Any) -> Any:
        try:
            return await guarded(*args, **kwargs)
        except RAISED_BY_GUARDS as error:
            _raise(error, twin)

    return coroutine


def _generator(guarded: Callable[..., Any], twin: Twin) -> Callable[..., Any]:
    def generator(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        try:
            return (yield from guarded(*args, **kwargs))
        except RAISED_BY_GUARDS as error:
            _raise(error, twin)

    return generator


def _async_generator(guarded: Callable[..., Any], twin: Twin) -> Callable[..., Any]:
    async def async_generator(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        source = own(guarded(*args, **kwargs))
        step = source.__anext__()
        try:
            while True:
                try:
                    item = await step
                except StopAsyncIteration:
                    return
                try:
                    sent = yield item
                except GeneratorExit:
                    await close(source)
                    raise
                except BaseException as thrown:  # noqa: BLE001 - it is the source's to handle
                    step = source.athrow(thrown)
                else:
                    step = source.asend(sent)
        except RAISED_BY_GUARDS as error:
            _raise(error, twin)
        finally:
            step = None  # an athrow() keeps the exception

    return async_generator
