"""The same for event loops: one descriptor in the loop, no threads."""

from __future__ import annotations

import itertools
from ctypes import byref, c_void_p
from types import TracebackType
from typing import Any, Dict, List, Optional, Sequence, Tuple, Type, Union

from . import _native as native
from ._client import Handle, Lease, Name, Request, Seconds, as_bytes, milliseconds
from ._errors import ClosedError, LockLostError, NotAcquiredError, RedlockError, from_native
from ._loops import Guard, Loop, Loss, Waiter, current

#: Events that are fetched by one call.
_BATCH = 64


class AsyncClient:
    """:class:`libredlock.Client` for one event loop, in which it is used: that of asyncio (uvloop too) or of trio.

    ``urls`` and ``options`` as there. Locks that are held when it is closed last until their TTL ends.
    """

    def __init__(self, urls: Sequence[str], **options: Any) -> None:
        self._handle = Handle(urls, {"interruptible": 0, **options})
        self._loop: Optional[Loop] = None
        self._identity: Optional[object] = None
        self._tags = itertools.count(1)
        self._pending: Dict[int, Waiter] = {}
        self._held: Dict[int, AsyncLock] = {}
        self._events = (c_void_p * _BATCH)()
        #: Leases that were released. Freeing one sends at once what is queued, each request in a segment of its own;
        #: so they are freed when everything has been sent.
        self._released: List[Lease] = []

    def _attach(self) -> Loop:
        kind, identity = current()
        if self._loop is None:
            fd = native.lib.redlock_fd(self._handle.pointer)
            if fd < 0:
                raise from_native(fd, None)
            self._loop, self._identity = kind(), identity
            self._loop.watch(fd, self._turn)
        elif self._identity is not identity:
            raise RuntimeError("this client belongs to another event loop")
        return self._loop

    def _turn(self) -> None:
        if self._loop is None:
            # It was closed after the loop had seen the descriptor and before this was called.
            return
        lib, pointer, events = native.lib, self._handle.pointer, self._events
        status = lib.redlock_process(pointer)
        if status != native.OK:
            self._fail(from_native(status, None))
            return
        self._released.clear()
        while True:
            count = lib.redlock_next_events(pointer, events, _BATCH)
            for event in events[:count]:
                try:
                    self._deliver(event)
                finally:
                    # A lease that nobody has taken is released by this.
                    lib.redlock_event_free(event)
            if count < _BATCH:
                return

    def _deliver(self, event: Optional[int]) -> None:
        lib = native.lib
        kind, tag = lib.redlock_event_kind(event), lib.redlock_event_tag(event)
        if kind == native.EVENT_LEASE_LOST and tag in self._held:
            self._held.pop(tag)._on_lost()
        if kind != native.EVENT_DONE:
            return
        waiter = self._pending.pop(tag, None)
        if waiter is None or waiter.done():
            return
        status = lib.redlock_event_status(event)
        if status == native.OK:
            waiter.set_result(lib.redlock_event_take_lease(event))
        else:
            waiter.set_exception(from_native(status, lib.redlock_event_take_error(event)))

    def _fail(self, failure: RedlockError) -> None:
        if self._loop is not None:
            self._loop.unwatch()
            self._loop = None
        pending, self._pending = self._pending, {}
        for waiter in pending.values():
            if not waiter.done():
                waiter.set_exception(failure)

    def _begin(self) -> Tuple[int, Waiter]:
        waiter = self._attach().waiter()
        tag = next(self._tags)
        self._pending[tag] = waiter
        return tag, waiter

    async def _submit(self, tag: int, waiter: Waiter, status: int, error: Any) -> Any:
        if status != native.OK:
            self._pending.pop(tag, None)
            raise from_native(status, error.value)
        return await waiter

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
        tag, waiter = self._begin()
        status = native.lib.redlock_submit_unlock_token_bytes(
            self._handle.pointer, key, len(key), mine, len(mine), tag, byref(error)
        )
        await self._submit(tag, waiter, status, error)

    async def extend(self, name: Name, token: Union[str, bytes], ttl: Seconds) -> None:
        """Makes a lock last ``ttl`` from now on, by its token; it is never shortened."""
        key, mine, error = as_bytes(name), as_bytes(token), native.out()
        tag, waiter = self._begin()
        status = native.lib.redlock_submit_extend_token_bytes(
            self._handle.pointer, key, len(key), mine, len(mine), milliseconds(ttl), tag, byref(error)
        )
        await self._submit(tag, waiter, status, error)

    async def close(self) -> None:
        """Ends what is in progress with ClosedError, and the connections."""
        self._released.clear()
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
        self._wait_ms = 0
        self._is_busy = False
        self._lease: Optional[Lease] = None
        self._tag = 0
        self._guard: Optional[Guard] = None
        #: Set when the lock is lost: ``lost.is_set()``, ``await lost.wait()``.
        self.lost = Loss()

    async def acquire(self, wait: Optional[Seconds] = None) -> bool:
        """Takes the lock. False if somebody else held it to the end; every other failure is an exception. A task that is
        cancelled in it leaves no key.

        :param wait: how long to wait, in seconds; None: without limit; 0: one attempt.
        """
        try:
            await self._acquire(wait)
        except NotAcquiredError:
            return False
        return True

    async def _acquire(self, wait: Optional[Seconds]) -> None:
        if self._lease is not None or self._is_busy:
            raise RuntimeError("this lock object is held already: use a second one")
        lib, client, request = native.lib, self._client, self._request.pointer
        wait_ms = -1 if wait is None else milliseconds(wait)
        if wait_ms != self._wait_ms:
            lib.redlock_request_set_wait_ms(request, wait_ms)
            self._wait_ms = wait_ms
        tag, waiter = client._begin()
        lib.redlock_request_set_tag(request, tag)
        error = native.out()
        self._is_busy = True
        try:
            status = lib.redlock_submit_lock(client._handle.pointer, request, byref(error))
            pointer = await client._submit(tag, waiter, status, error)
        except RedlockError:
            raise
        except BaseException:
            # The task was cancelled.
            if client._pending.pop(tag, None) is not None:
                lib.redlock_cancel(client._handle.pointer, tag)
            elif waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                # It was acquired at the very moment.
                lib.redlock_unlock_nowait(waiter.result())
                lib.redlock_lease_free(waiter.result())
            raise
        finally:
            self._is_busy = False
        self.lost.clear()
        self._lease, self._tag = Lease(client._handle, pointer), tag
        client._held[tag] = self

    async def release(self) -> None:
        """Releases the lock.

        :raises LockLostError: it had ended before.
        """
        lease, self._lease = self._lease, None
        if lease is None:
            raise RuntimeError("release of a lock that is not held")
        self._client._held.pop(self._tag, None)
        pointer = lease.use()
        tag, waiter = self._client._begin()
        error = native.out()
        status = native.lib.redlock_submit_unlock(pointer, tag, byref(error))
        self._client._released.append(lease)
        del lease  # That list is to be the last to hold it.
        await self._client._submit(tag, waiter, status, error)

    async def extend(self, ttl: Optional[Seconds] = None) -> None:
        """Makes the lock last ``ttl`` from now on (default: the TTL it was made with); it is never shortened."""
        tag, waiter = self._client._begin()
        error = native.out()
        ttl_ms = milliseconds(self._ttl if ttl is None else ttl)
        status = native.lib.redlock_submit_extend(self._held(), ttl_ms, tag, byref(error))
        await self._client._submit(tag, waiter, status, error)

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
        if self._guard is not None:
            self._guard.cancel()

    async def __aenter__(self) -> AsyncLock:
        await self._acquire(self._wait)
        self._guard = self._client._attach().guard()
        return self

    async def __aexit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        guard, self._guard = self._guard, None
        is_lost = self.lost.is_set()
        is_ours = guard.leave(kind, error, trace) if guard is not None else False
        if is_lost:
            self._lease = None
            if error is None or is_ours:
                raise LockLostError(f"the lock {self.name!r} is lost") from error
            return
        try:
            await self.release()
        except RedlockError:
            # What the body failed of matters more.
            if error is None:
                raise
