"""Block: the policies of a command around the code in a ``with`` statement.

One Block is used many times at once, so each entry has a BlockCall of its own, which holds what the entry has acquired.
``with payments() as call`` makes it, and the statement keeps it. ``with payments`` has only the Block to keep, and its
``__exit__`` must find the call that it ends. A frame (one run of a function, whichever thread, task or
context it is in) leaves its ``with`` statements in the reverse order of entering them, so calls are kept by frame,
each with the one that it is nested in. Who enters and leaves by other means than the statement, such as an ExitStack,
leaves from another frame; then the latest call of the same task or thread is meant (_elsewhere()).
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Coroutine
from types import FrameType, FunctionType, TracebackType
from typing import Any, Final, NamedTuple

from ..commands.command import Command
from ..core.context_managers import leave
from ..engine.block_body import UNSAID, block_body, entered
from ..engine.callables import GUARD
from ..engine.wrapper_spec import Flavour
from ..errors import ConfigError
from ..registry import table_of
from .declaration import Declaration
from .decoration import guard, guard_alike

#: What may be said of a function and not of a block, with the reason.
CANNOT: Final = {
    "isolation": "its code runs in the thread that enters it, and cannot be moved to another",
    "pool": "its code runs in the thread that enters it, and no worker thread is needed",
    "key": "it has one command; give a name, and make a block for each",
    "max_keys": "it has one command",
    "idle": "it has one command",
}


class BlockPlace(NamedTuple):
    """Where a block is declared."""

    module: str
    file: str
    line: int

    @classmethod
    def of(cls, frame: FrameType) -> BlockPlace:
        """The place where *frame* is now."""
        return cls(frame.f_globals.get("__name__") or "builtins", frame.f_code.co_filename, frame.f_lineno)


class BlockCall:
    """One entry of a Block: what ``with block as call`` gives, and of use once. For one thread or task at a time.

    Attributes:
        result: What the block got, to be judged by the command's failure rules; set it within the block. As long as it
            is not set, a block that ends without an exception is good.
    """

    __slots__ = ("_args", "_block", "_kwargs", "_outer", "_steps", "_where", "result")
    result: Any
    _outer: BlockCall | None  # of a call that its Block keeps: the one that it is nested in
    _where: object  # of the same: the task or thread that entered it

    def __init__(self, block: Block, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> None:
        self._block, self._args, self._kwargs = block, args, kwargs
        self.result = UNSAID
        self._steps: Any = None  # the wrapper of this entry, stopped where the block runs

    def __repr__(self) -> str:
        return f"<call of {self._block!r}>"

    def __enter__(self) -> BlockCall:
        steps = self._begun(self._block._wrapper())
        next(steps)
        self._steps = steps
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._end(error)

    async def __aenter__(self) -> BlockCall:
        steps = self._begun(self._block._async_wrapper)
        await entered(steps)
        self._steps = steps
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        if getattr(self._steps, "cr_frame", self) is not None:  # else it has been left already
            self._end(error)

    def _begun(self, wrapper: Any) -> Any:
        if self._steps is not None:
            raise RuntimeError(f"{self._block!r}: this call has been entered already; make another, with block()")
        return wrapper(*self._args, **self._kwargs) if self._kwargs else wrapper(*self._args)

    def _end(self, error: BaseException | None) -> None:
        """Settle, and raise what the caller is to see instead of *error*, if that is something else."""
        steps = self._steps
        if steps is None:
            raise RuntimeError(f"{self._block!r}: this call is left, but was never entered")
        leave(steps, error, self.result)


class Block:
    """The policies of one command, for the code in ``with`` and ``async with`` statements.

    Made by ``block()`` or ``Pipeline.block()``. It may be entered any number of times, nested in itself, and from any
    number of threads and tasks at once; each entry is a call of the command. What refuses the call is raised where the
    statement is entered. How the block ends is how the call ends.

    A block, or its call, that is entered by other means than a statement (an ExitStack, a test's setup) may be left
    from anywhere. If several of the same block are open then, use ``block()`` for each, which says which one is left.
    """

    __slots__ = ("__resilience_guard__", "__weakref__", "_async_wrapper", "_declaration", "_name", "_open", "_place",
                 "_sync_wrapper", "resilience")
    resilience: Command

    def __init__(self, declaration: Declaration, place: BlockPlace) -> None:
        self._check(declaration)
        self._declaration, self._name, self._place = declaration, str(declaration.key), place
        self._open: dict[FrameType, BlockCall] = {}
        self._sync_wrapper: Any = None
        self._async_wrapper = guard(self._body(Flavour.ASYNC_BLOCK), declaration, "block")
        self.resilience = self._async_wrapper.resilience
        self.__resilience_guard__ = getattr(self._async_wrapper, GUARD)

    def __repr__(self) -> str:
        return f"<block {self._name!r}>"

    def __copy__(self) -> Block:
        return self  # as functions are

    def __deepcopy__(self, memo: object) -> Block:
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> BlockCall:
        """A call of its own for one ``with`` or ``async with`` statement.

        Args:
            *args: What policies look at that ask about a call's arguments, such as the ``by`` of a rate limit.
            **kwargs: The same by name.

        Raises:
            TypeError: It is used as a decorator.
        """
        if len(args) == 1 and isinstance(args[0], FunctionType):
            raise TypeError(f"{self!r} is for with statements, and decorates no function; decorate {args[0].__name__} "
                            "with @command(...)")
        return BlockCall(self, args, kwargs)

    def __enter__(self) -> BlockCall:
        """Acquire what a call acquires.

        Raises:
            ConfigError: It has a timeout, and a ``with`` statement runs in a thread that no timeout can reach.
            RejectedError: A policy refuses the call.
        """
        call = BlockCall(self)
        call.__enter__()
        self._keep(sys._getframe(1), call)
        return call

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        """Settle the call by how the block ended."""
        self._taken(sys._getframe(1))._end(error)

    def __aenter__(self) -> Coroutine[Any, Any, BlockCall]:
        """Acquire what a call acquires, and start the timeout.

        Raises:
            RejectedError: A policy refuses the call.
        """
        return self._enter_async(sys._getframe(1))

    def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                  trace: TracebackType | None) -> Coroutine[Any, Any, None]:
        """Settle the call by how the block ended.

        Raises:
            CallTimeoutError: The block was cancelled because its time was up.
        """
        return self._leave_async(sys._getframe(1), error)

    async def _enter_async(self, frame: FrameType) -> BlockCall:
        call = BlockCall(self)
        await call.__aenter__()
        self._keep(frame, call)
        return call

    async def _leave_async(self, frame: FrameType, error: BaseException | None) -> None:
        self._taken(frame)._end(error)

    # -- the calls of statements that have nothing but the block to keep

    def _keep(self, frame: FrameType, call: BlockCall) -> None:
        call._where = _here()
        call._outer = self._open.get(frame)
        self._open[frame] = call

    def _taken(self, frame: FrameType) -> BlockCall:
        """The call that is left now, which is kept no longer.

        Nothing is called between reading and writing, so that no interrupt and no other thread comes in there.
        """
        while True:
            try:
                call = self._open[frame]
                if call._outer is None:
                    del self._open[frame]
                else:
                    self._open[frame] = call._outer
            except KeyError:
                frame = self._elsewhere()
            else:
                return call

    def _elsewhere(self) -> FrameType:
        """The frame that has most likely entered the call that is left now, from a frame that has not entered any.

        That of the latest call of this task or thread, else of any other. Statements that are under way in this very
        stack are not left so.

        Raises:
            RuntimeError: No call is open.
        """
        under_way, here = set(), _here()
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:  # only here: to ask for what is below a frame of another thread can hang CPython 3.11
            under_way.add(frame)
            frame = frame.f_back
        found = sorted(self._open.copy().items(),
                       key=lambda each: (each[0] not in under_way, each[1]._where == here))  # stable: the latest last
        if not found:
            raise RuntimeError(f"{self!r} is left, but was never entered")
        return found[-1][0]

    # -- wrappers

    @staticmethod
    def _check(declaration: Declaration) -> None:
        said = {"isolation": declaration.isolation == "thread", "pool": declaration.pool is not None,
                "key": callable(declaration.key), "max_keys": declaration.max_keys is not None,
                "idle": declaration.idle is not None}
        for name, is_said in said.items():
            if is_said:
                raise ConfigError(f"a with block cannot have {name}=: {CANNOT[name]}", name)
        if declaration.key is None:
            raise ConfigError("a with block has no name of its own, as a function has; give it a key", "key")
        declaration.check_suited(Flavour.ASYNC_BLOCK, str(declaration.key))

    def _body(self, flavour: Flavour) -> Any:
        place = self._place
        return block_body(flavour, name=f"block({self._name!r})", module=place.module, place=(place.file, place.line))

    def _wrapper(self) -> Any:
        """The wrapper of ``with``, made when the first one is entered: a timeout is only wrong then."""
        if self._sync_wrapper is None:
            with table_of(self.__resilience_guard__.registry).lock:
                if self._sync_wrapper is None:
                    self._sync_wrapper = guard_alike(self._body(Flavour.BLOCK), self._async_wrapper)
        return self._sync_wrapper


def _here() -> Any:
    """The current task; outside of one, the thread."""
    loop = asyncio._get_running_loop()
    return threading.get_ident() if loop is None else asyncio.current_task(loop)
