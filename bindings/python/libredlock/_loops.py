"""What an asynchronous client needs of the program's event loop: asyncio (and uvloop), or trio."""

from __future__ import annotations

import asyncio
import sys
from types import TracebackType
from typing import Any, Callable, Generator, List, Optional, Tuple, Type, Union


class AsyncioGuard:
    """The task of a block, to be cancelled when its lock is lost."""

    def __init__(self) -> None:
        task: Any = asyncio.current_task()
        self._task = task
        self._is_cancelled = False
        self._cancelling: int = getattr(self._task, "cancelling", int)()

    def cancel(self) -> None:
        self._is_cancelled = True
        self._task.cancel()

    def leave(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> bool:
        """Whether what ended the block is this guard's cancellation, and nobody else's."""
        if not self._is_cancelled:
            return False
        others = getattr(self._task, "uncancel", int)() > self._cancelling
        return isinstance(error, asyncio.CancelledError) and not others


class AsyncioLoop:
    """One running loop of asyncio."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._fd = -1

    @staticmethod
    def identity() -> object:
        return asyncio.get_running_loop()

    def watch(self, fd: int, turn: Callable[[], None]) -> None:
        """Calls ``turn`` whenever ``fd`` is readable."""
        self._fd = fd
        self._loop.add_reader(fd, turn)

    def unwatch(self) -> None:
        if not self._loop.is_closed():
            self._loop.remove_reader(self._fd)

    def waiter(self) -> asyncio.Future[Any]:
        return self._loop.create_future()

    @staticmethod
    def guard() -> AsyncioGuard:
        return AsyncioGuard()


class TrioWaiter:
    """What one operation waits for; as much of a future as is needed."""

    def __init__(self) -> None:
        import trio

        self._event = trio.Event()
        self._value: Any = None
        self._error: Optional[BaseException] = None

    def done(self) -> bool:
        return self._event.is_set()

    def cancelled(self) -> bool:
        return False

    def result(self) -> Any:
        if self._error is not None:
            raise self._error
        return self._value

    def exception(self) -> Optional[BaseException]:
        return self._error

    def set_result(self, value: Any) -> None:
        self._value = value
        self._event.set()

    def set_exception(self, error: BaseException) -> None:
        self._error = error
        self._event.set()

    def __await__(self) -> Generator[Any, Any, Any]:
        yield from self._event.wait().__await__()
        return self.result()


class TrioGuard:
    """The scope of a block, to be cancelled when its lock is lost."""

    def __init__(self) -> None:
        import trio

        self._scope = trio.CancelScope()
        self._scope.__enter__()

    def cancel(self) -> None:
        self._scope.cancel()

    def leave(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> bool:
        return bool(self._scope.__exit__(kind, error, trace))


class TrioLoop:
    """One run of trio."""

    def __init__(self) -> None:
        import trio

        self._scope = trio.CancelScope()

    @staticmethod
    def identity() -> object:
        import trio

        return trio.lowlevel.current_trio_token()

    def watch(self, fd: int, turn: Callable[[], None]) -> None:
        import trio

        async def watching() -> None:
            with self._scope:
                while True:
                    await trio.lowlevel.wait_readable(fd)
                    turn()

        trio.lowlevel.spawn_system_task(watching)

    def unwatch(self) -> None:
        self._scope.cancel()

    def waiter(self) -> TrioWaiter:
        return TrioWaiter()

    @staticmethod
    def guard() -> TrioGuard:
        return TrioGuard()


Loop = Union[AsyncioLoop, TrioLoop]
Guard = Union[AsyncioGuard, TrioGuard]
Waiter = Any


def current() -> Tuple[Type[AsyncioLoop], object] | Tuple[Type[TrioLoop], object]:
    """The kind of the loop that runs here, and what tells it from others."""
    trio = sys.modules.get("trio")
    if trio is not None and asyncio._get_running_loop() is None:
        try:
            return TrioLoop, TrioLoop.identity()
        except RuntimeError:
            pass
    return AsyncioLoop, AsyncioLoop.identity()


class Loss:
    """Set when a lock is lost; any number of tasks may wait for it."""

    def __init__(self) -> None:
        self._is_set = False
        self._waiters: List[Waiter] = []

    def is_set(self) -> bool:
        return self._is_set

    async def wait(self) -> bool:
        """Returns, always True, once the lock is lost."""
        if not self._is_set:
            kind, _ = current()
            waiter = kind().waiter()
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                self._waiters.remove(waiter)
        return True

    def set(self) -> None:
        self._is_set = True
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def clear(self) -> None:
        self._is_set = False
