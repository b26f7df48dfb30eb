"""``redlock.lock``."""

from __future__ import annotations

import time
from types import TracebackType
from typing import List, Optional, Tuple, Type, Union

from ..._aio import AsyncClient, AsyncLock
from ..._client import Client
from ..._errors import LockLostError, NoQuorumError, NotAcquiredError, RedlockError, UnknownOutcomeError
from .client import AsyncRedlockClient, RedlockConfig, SyncRedlockClient


class Lock:
    """A lock that was acquired, or, where ``valid`` is False, was not."""

    def __init__(self, resource: str, val: str, validity: int, client: Union[Redlock, AsyncRedlock]) -> None:
        self.resource = resource
        #: The token: whoever knows it can unlock, also in another process.
        self.value = val
        #: Milliseconds from its acquisition, or its last extension, for which it is certainly held.
        self.validity = validity
        self.client = client
        self._valid_until = time.monotonic() + validity / 1000

    @property
    def valid(self) -> bool:
        """Whether it is held now."""
        return time.monotonic() < self._valid_until

    @valid.setter
    def valid(self, valid: bool) -> None:
        self._valid_until = time.monotonic() + self.validity / 1000 if valid else 0.0

    def extended(self, ttl: int, took: float) -> None:
        """It lasts ``ttl`` milliseconds from ``took`` seconds ago."""
        self.validity = max(0, int(ttl - took * 1000 - ttl * 0.01 - 2))
        self._valid_until = time.monotonic() + self.validity / 1000


def _invalid(resource: str, client: Union[Redlock, AsyncRedlock]) -> Lock:
    lock = Lock(resource, "", 0, client)
    lock.valid = False
    return lock


class Redlock:
    """Locks for threads.

    :param config: the servers, or their URLs.
    :param retry_count: further attempts after the first.
    :param retry_delay_min: seconds between two attempts, at least.
    :param retry_delay_max: and at most. Without ``blocking`` a lock is waited for no longer than ``retry_count`` times that.
    """

    def __init__(
        self,
        config: Union[RedlockConfig, List[str]],
        retry_count: int = 3,
        retry_delay_min: float = 0.1,
        retry_delay_max: float = 0.3,
    ) -> None:
        self.client = SyncRedlockClient(config)
        self.retry_count = retry_count
        self.retry_delay_min = retry_delay_min
        self.retry_delay_max = retry_delay_max
        options = self.client.config.options(retry_delay_min, retry_delay_max)
        self._client = Client(self.client.config.masters, **options)

    def lock(self, resource: str, ttl: int, blocking: bool = False) -> LockContext:
        """For ``with``; the body must look at ``valid``. ``ttl``: milliseconds."""
        return LockContext(self, resource, ttl, blocking)

    def acquire(self, resource: str, ttl: int, blocking: bool = False) -> Optional[Lock]:
        """Takes a lock for ``ttl`` milliseconds. None: somebody else held it at every attempt. ``blocking``: waits without
        limit.

        :raises libredlock.RedlockError: too few nodes could be asked.
        """
        held = self._client.lock(resource, ttl=ttl / 1000, retries=None if blocking else self.retry_count)
        try:
            held.take(None if blocking else self.retry_count * self.retry_delay_max)
        except NotAcquiredError:
            return None
        return Lock(resource, held.token.decode(), round(held.remaining * 1000), self)

    def release(self, lock: Union[Lock, Tuple[str, str]]) -> None:
        """Releases a lock, or a resource by its token; without effect on what is another's by now."""
        if isinstance(lock, Lock):
            lock.valid = False
            self.unlock(lock.resource, lock.value)
        else:
            self.unlock(*lock)

    def unlock(self, resource: str, token: str) -> None:
        """Releases a resource by its token; without effect where the token is not the holder's."""
        try:
            self._client.unlock(resource, token)
        except LockLostError:
            pass

    def extend(self, lock: Lock, additional_ttl: int) -> bool:
        """Makes a lock last ``additional_ttl`` milliseconds from now on. False: it is not held any more, or too few nodes
        confirmed in time."""
        if not lock.valid:
            return False
        begun = time.monotonic()
        try:
            self._client.extend(lock.resource, lock.value, additional_ttl / 1000)
        except LockLostError:
            lock.valid = False
            return False
        except (NoQuorumError, UnknownOutcomeError):
            return False
        lock.extended(additional_ttl, time.monotonic() - begun)
        return True

    def close(self) -> None:
        """Closes the connections. Locks that are held last until their TTL ends."""
        self._client.close()

    def __enter__(self) -> Redlock:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class LockContext:
    """What :meth:`Redlock.lock` returns."""

    def __init__(self, redlock: Redlock, resource: str, ttl: int, blocking: bool = False) -> None:
        self.redlock = redlock
        self.resource = resource
        self.ttl = ttl
        self.blocking = blocking
        self.lock_obj: Optional[Lock] = None

    def __enter__(self) -> Lock:
        self.lock_obj = self.redlock.acquire(self.resource, self.ttl, blocking=self.blocking)
        return self.lock_obj or _invalid(self.resource, self.redlock)

    def __exit__(
        self,
        exc_type: Optional[Type[BaseException]],
        exc_val: Optional[BaseException],
        exc_tb: Optional[TracebackType],
    ) -> None:
        lock, self.lock_obj = self.lock_obj, None
        if lock is None:
            return
        try:
            self.redlock.release(lock)
        except RedlockError:
            # What the body failed of matters more.
            if exc_type is None:
                raise


class AsyncRedlock:
    """The same for asyncio; used in one event loop."""

    def __init__(
        self,
        config: Union[RedlockConfig, List[str]],
        retry_count: int = 3,
        retry_delay_min: float = 0.1,
        retry_delay_max: float = 0.3,
    ) -> None:
        self.client = AsyncRedlockClient(config)
        self.retry_count = retry_count
        self.retry_delay_min = retry_delay_min
        self.retry_delay_max = retry_delay_max
        options = self.client.config.options(retry_delay_min, retry_delay_max)
        self._client = AsyncClient(self.client.config.masters, **options)

    def lock(self, resource: str, ttl: int, blocking: bool = False) -> AsyncLockContext:
        """For ``async with``; the body must look at ``valid``. ``ttl``: milliseconds."""
        return AsyncLockContext(self, resource, ttl, blocking)

    async def acquire(self, resource: str, ttl: int, blocking: bool = False) -> Optional[Lock]:
        """As :meth:`Redlock.acquire`. If it is cancelled no key is left."""
        held: AsyncLock = self._client.lock(resource, ttl=ttl / 1000, retries=None if blocking else self.retry_count)
        if not await held.acquire(None if blocking else self.retry_count * self.retry_delay_max):
            return None
        return Lock(resource, held.token.decode(), round(held.remaining * 1000), self)

    async def release(self, lock: Union[Lock, Tuple[str, str]]) -> None:
        """As :meth:`Redlock.release`."""
        if isinstance(lock, Lock):
            lock.valid = False
            await self.unlock(lock.resource, lock.value)
        else:
            await self.unlock(*lock)

    async def unlock(self, resource: str, token: str) -> None:
        """As :meth:`Redlock.unlock`."""
        try:
            await self._client.unlock(resource, token)
        except LockLostError:
            pass

    async def extend(self, lock: Lock, additional_ttl: int) -> bool:
        """As :meth:`Redlock.extend`."""
        if not lock.valid:
            return False
        begun = time.monotonic()
        try:
            await self._client.extend(lock.resource, lock.value, additional_ttl / 1000)
        except LockLostError:
            lock.valid = False
            return False
        except (NoQuorumError, UnknownOutcomeError):
            return False
        lock.extended(additional_ttl, time.monotonic() - begun)
        return True

    async def close(self) -> None:
        """Closes the connections. Locks that are held last until their TTL ends."""
        await self._client.close()

    async def __aenter__(self) -> AsyncRedlock:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class AsyncLockContext:
    """What :meth:`AsyncRedlock.lock` returns."""

    def __init__(self, redlock: AsyncRedlock, resource: str, ttl: int, blocking: bool = False) -> None:
        self.redlock = redlock
        self.resource = resource
        self.ttl = ttl
        self.blocking = blocking
        self.lock_obj: Optional[Lock] = None

    async def __aenter__(self) -> Lock:
        self.lock_obj = await self.redlock.acquire(self.resource, self.ttl, blocking=self.blocking)
        return self.lock_obj or _invalid(self.resource, self.redlock)

    async def __aexit__(
        self,
        exc_type: Optional[Type[BaseException]],
        exc_val: Optional[BaseException],
        exc_tb: Optional[TracebackType],
    ) -> None:
        lock, self.lock_obj = self.lock_obj, None
        if lock is None:
            return
        try:
            await self.redlock.release(lock)
        except RedlockError:
            if exc_type is None:
                raise
