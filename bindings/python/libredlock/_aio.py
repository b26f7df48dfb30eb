"""The same for asyncio: one descriptor in the loop, no threads."""

from __future__ import annotations

import asyncio
import itertools
from ctypes import byref
from types import TracebackType
from typing import Any, Dict, Optional, Sequence, Type, Union

from . import _native as native
from ._client import Handle, Lease, Name, Request, Seconds, as_bytes, milliseconds
from ._errors import ClosedError, LockLostError, NotAcquiredError, RedlockError, from_native


class AsyncClient:
    """:class:`libredlock.Client` for one event loop; made and used in it."""

    def __init__(self, urls: Sequence[str], **options: Any) -> None:
        self._handle = Handle(urls, {"interruptible": 0, **options})
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._tags = itertools.count(1)
        self._pending: Dict[int, asyncio.Future[Any]] = {}
        self._held: Dict[int, AsyncLock] = {}

    def _attach(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.get_running_loop()
        if self._loop is None:
            fd = native.lib.redlock_fd(self._handle.pointer)
            if fd < 0:
                raise from_native(fd, None)
            self._loop, self._fd = loop, fd
            loop.add_reader(fd, self._turn)
        elif self._loop is not loop:
            raise RuntimeError("this client belongs to another event loop")
        return loop

    def _turn(self) -> None:
        lib, pointer = native.lib, self._handle.pointer
        status = lib.redlock_process(pointer)
        if status != native.OK:
            self._fail(from_native(status, None))
            return
        while True:
            event = lib.redlock_next_event(pointer)
            if not event:
                return
            try:
                self._deliver(event)
            finally:
                # A lease that nobody has taken is released by this.
                lib.redlock_event_free(event)

    def _deliver(self, event: int) -> None:
        lib = native.lib
        kind, tag = lib.redlock_event_kind(event), lib.redlock_event_tag(event)
        if kind == native.EVENT_LEASE_LOST and tag in self._held:
            self._held.pop(tag)._on_lost()
        if kind != native.EVENT_DONE:
            return
        future = self._pending.pop(tag, None)
        if future is None or future.done():
            return
        status = lib.redlock_event_status(event)
        if status == native.OK:
            future.set_result(lib.redlock_event_take_lease(event))
        else:
            future.set_exception(from_native(status, lib.redlock_event_take_error(event)))

    def _fail(self, failure: RedlockError) -> None:
        self._detach()
        pending, self._pending = self._pending, {}
        for future in pending.values():
            if not future.done():
                future.set_exception(failure)

    def _detach(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._fd)
        self._loop = None

    def _begin(self) -> tuple[int, asyncio.Future[Any]]:
        future: asyncio.Future[Any] = self._attach().create_future()
        tag = next(self._tags)
        self._pending[tag] = future
        return tag, future

    async def _submit(self, tag: int, future: asyncio.Future[Any], status: int, error: Any) -> Any:
        if status != native.OK:
            self._pending.pop(tag, None)
            raise from_native(status, error.value)
        return await future

    def lock(
        self,
        name: Name,
        *,
        ttl: Seconds,
        wait: Optional[Seconds] = None,
        fence: bool = False,
        auto_extend: bool = False,
        max_hold: Seconds = 0,
        retries: Optional[int] = None,
    ) -> AsyncLock:
        """A lock that is not taken yet; parameters as in :meth:`libredlock.Client.lock`."""
        request = Request(
            as_bytes(name),
            milliseconds(ttl),
            fence=fence,
            auto_extend=auto_extend,
            max_hold_ms=milliseconds(max_hold),
            retries=retries,
        )
        return AsyncLock(self, name, request, ttl, wait)

    async def unlock(self, name: Name, token: Union[str, bytes]) -> None:
        """Releases a lock by its token, also in another process than its holder's."""
        key, mine, error = as_bytes(name), as_bytes(token), native.out()
        tag, future = self._begin()
        status = native.lib.redlock_submit_unlock_token_bytes(
            self._handle.pointer, key, len(key), mine, len(mine), tag, byref(error)
        )
        await self._submit(tag, future, status, error)

    async def extend(self, name: Name, token: Union[str, bytes], ttl: Seconds) -> None:
        """Makes a lock last ``ttl`` from now on, by its token; it is never shortened."""
        key, mine, error = as_bytes(name), as_bytes(token), native.out()
        tag, future = self._begin()
        status = native.lib.redlock_submit_extend_token_bytes(
            self._handle.pointer, key, len(key), mine, len(mine), milliseconds(ttl), tag, byref(error)
        )
        await self._submit(tag, future, status, error)

    async def close(self) -> None:
        """Ends what is in progress with ClosedError, and the connections."""
        self._handle.close(timeout=0)
        self._fail(ClosedError("handle is closed"))

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class AsyncLock:
    """One lock of one holder, like :class:`asyncio.Lock`; made by :meth:`AsyncClient.lock`.

    ``async with`` cancels its body when the lock is lost, and raises LockLostError in place of the cancellation.
    """

    def __init__(
        self, client: AsyncClient, name: Name, request: Request, ttl: Seconds, wait: Optional[Seconds]
    ) -> None:
        self.name = name
        self._client = client
        self._request = request
        self._ttl = ttl
        self._wait = wait
        self._lease: Optional[Lease] = None
        self._tag = 0
        self._task: Optional[asyncio.Task[Any]] = None
        #: Set when the lock is lost.
        self.lost = asyncio.Event()

    async def acquire(self, wait: Optional[Seconds] = None) -> bool:
        """Takes the lock. False if somebody else held it to the end. ``wait``: seconds; None: without limit."""
        try:
            await self._acquire(wait)
        except NotAcquiredError:
            return False
        return True

    async def _acquire(self, wait: Optional[Seconds]) -> None:
        if self._lease is not None:
            raise RuntimeError("this lock object is held already: use a second one")
        lib, client = native.lib, self._client
        tag, future = client._begin()
        canceller = lib.redlock_canceller_new()
        try:
            lib.redlock_request_set_tag(self._request.pointer, tag)
            lib.redlock_request_set_canceller(self._request.pointer, canceller)
            lib.redlock_request_set_wait_ms(self._request.pointer, -1 if wait is None else milliseconds(wait))
            error = native.out()
            status = lib.redlock_submit_lock(client._handle.pointer, self._request.pointer, byref(error))
            pointer = await client._submit(tag, future, status, error)
            self.lost.clear()
            self._lease, self._tag = Lease(client._handle, pointer), tag
            client._held[tag] = self
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                # It was acquired at the very moment.
                native.lib.redlock_unlock_nowait(future.result())
                native.lib.redlock_lease_free(future.result())
            raise
        finally:
            # Without effect on an operation that has ended.
            lib.redlock_canceller_cancel(canceller)
            lib.redlock_request_set_canceller(self._request.pointer, None)
            lib.redlock_canceller_free(canceller)

    async def release(self) -> None:
        """Releases the lock.

        :raises LockLostError: it had ended before.
        """
        lease, self._lease = self._lease, None
        if lease is None:
            raise RuntimeError("release of a lock that is not held")
        self._client._held.pop(self._tag, None)
        tag, future = self._client._begin()
        error = native.out()
        status = native.lib.redlock_submit_unlock(lease.use(), tag, byref(error))
        await self._client._submit(tag, future, status, error)

    async def extend(self, ttl: Optional[Seconds] = None) -> None:
        """Makes the lock last ``ttl`` from now on (default: the TTL it was made with); it is never shortened."""
        tag, future = self._client._begin()
        error = native.out()
        ttl_ms = milliseconds(self._ttl if ttl is None else ttl)
        status = native.lib.redlock_submit_extend(self._held(), ttl_ms, tag, byref(error))
        await self._client._submit(tag, future, status, error)

    def _held(self) -> int:
        if self._lease is None:
            raise LockLostError("the lock is not held")
        return self._lease.use()

    def locked(self) -> bool:
        """Whether this object holds the lock now."""
        return self._lease is not None and native.lib.redlock_lease_state(self._lease.use()) == native.LEASE_HELD

    @property
    def remaining(self) -> float:
        """For how many more seconds the lock is ours; 0 when it is not."""
        if self._lease is None:
            return 0.0
        return float(max(0, native.lib.redlock_lease_remaining_ms(self._lease.use()))) / 1000

    @property
    def token(self) -> bytes:
        """What makes the lock ours."""
        return native.sized(native.lib.redlock_lease_token, self._held()) or b""

    @property
    def fence(self) -> Optional[int]:
        """The fencing token; None where none was asked for."""
        return native.lib.redlock_lease_fence(self._held()) or None

    def ensure_held(self) -> None:
        """To be called before each step of long work; LockLostError if the lock is not ours any more."""
        if not self.locked():
            raise LockLostError(f"the lock {self.name!r} is lost")

    def _on_lost(self) -> None:
        self.lost.set()
        if self._task is not None:
            self._task.cancel()

    async def __aenter__(self) -> AsyncLock:
        await self._acquire(self._wait)
        self._task = asyncio.current_task()
        return self

    async def __aexit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        task, self._task = self._task, None
        if self.lost.is_set():
            self._lease = None
            if error is None or isinstance(error, asyncio.CancelledError):
                uncancel = getattr(task, "uncancel", None)
                if uncancel is not None:
                    uncancel()
                raise LockLostError(f"the lock {self.name!r} is lost") from error
            return
        try:
            await self.release()
        except RedlockError:
            if error is None:
                raise
