"""``redlock.lock``."""

from __future__ import annotations

import time
import uuid
from types import TracebackType
from typing import Any, Iterable, Optional, Type

from ..._errors import LockLostError, NotAcquiredError, RedlockError
from .nodes import Nodes

#: Attempts.
DEFAULT_RETRY_TIMES = 3
#: Milliseconds between two attempts, at most.
DEFAULT_RETRY_DELAY = 200
#: Milliseconds.
DEFAULT_TTL = 100000
#: How far the clocks of two machines may run apart.
CLOCK_DRIFT_FACTOR = 0.01


class RedLockError(Exception):
    """A lock was not acquired, or the nodes could not be asked; then the message says what is wrong with which."""


class RedLockFactory:
    """Locks that share their connections.

    :param connection_details: of each node: a mapping (``host``, ``port``, ``db`` ... or ``url``), which is left as it is,
        or a client of redis-py, whose address, credentials and TLS settings are used.
    """

    def __init__(self, connection_details: Iterable[Any]) -> None:
        self.redis_nodes = Nodes(connection_details)
        self.quorum = len(self.redis_nodes) // 2 + 1

    def create_lock(self, resource: str, **kwargs: Any) -> RedLock:
        """A lock on these nodes; further arguments are those of :class:`RedLock`."""
        lock = RedLock(resource=resource, created_by_factory=True, **kwargs)
        lock.redis_nodes = self.redis_nodes
        lock.quorum = self.quorum
        lock.factory = self
        return lock


class RedLock:
    """A lock with an interface like that of :class:`threading.Lock`.

    :param retry_times: attempts, at least 1.
    :param retry_delay: milliseconds between two attempts, at most.
    :param ttl: milliseconds for which it lasts.
    """

    factory: Optional[RedLockFactory]
    redis_nodes: Nodes
    quorum: int
    #: The token, once ``acquire`` was called: another object or process with the same one can release the lock.
    lock_key: str

    def __init__(
        self,
        resource: str,
        connection_details: Optional[Iterable[Any]] = None,
        retry_times: int = DEFAULT_RETRY_TIMES,
        retry_delay: int = DEFAULT_RETRY_DELAY,
        ttl: int = DEFAULT_TTL,
        created_by_factory: bool = False,
    ) -> None:
        self.resource = resource
        self.retry_times = retry_times
        self.retry_delay = retry_delay
        self.ttl = ttl
        if created_by_factory:
            self.factory = None
            return
        self.redis_nodes = Nodes([{}] if connection_details is None else connection_details)
        self.quorum = len(self.redis_nodes) // 2 + 1

    def acquire(self) -> bool:
        """Takes the lock. False: somebody else held it at every attempt.

        :raises RedLockError: too few nodes could be asked.
        """
        self.lock_key = uuid.uuid4().hex
        self._valid_until = 0.0
        if self.retry_times < 1:
            return False
        lock = self.redis_nodes.client.lock(self.resource, ttl=self.ttl / 1000, retries=self.retry_times - 1)
        try:
            lock.take((self.retry_times - 1) * self.retry_delay / 1000)
        except NotAcquiredError:
            return False
        except RedlockError as error:
            raise RedLockError(str(error)) from error
        self.lock_key = lock.token.decode()
        self._valid_until = time.monotonic() + lock.remaining
        return True

    def release(self) -> None:
        """Releases the lock, if it is still held with this token.

        :raises RedLockError: too few nodes could be asked; they are told when they can be reached.
        """
        try:
            self.redis_nodes.client.unlock(self.resource, self.lock_key)
        except LockLostError:
            pass
        except RedlockError as error:
            raise RedLockError(str(error)) from error

    def __enter__(self) -> RedLock:
        if not self.acquire():
            raise RedLockError("failed to acquire lock")
        return self

    def __exit__(
        self,
        exc_type: Optional[Type[BaseException]],
        exc_value: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        try:
            self.release()
        except RedLockError:
            # What the body failed of matters more.
            if exc_type is None:
                raise


class ReentrantRedLock(RedLock):
    """A lock that its object may take several times."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._acquired = 0

    def acquire(self) -> bool:
        """Takes the lock, or takes it once more. Once its TTL has passed it is taken anew, and only if it is free."""
        if self._acquired > 0 and time.monotonic() < getattr(self, "_valid_until", float("inf")):
            self._acquired += 1
            return True
        is_acquired = super().acquire()
        self._acquired = 1 if is_acquired else 0
        return is_acquired

    def release(self) -> Optional[bool]:  # type: ignore[override]
        """True: still held by an earlier acquisition. None: released. False: it was not held."""
        if self._acquired == 0:
            return False
        self._acquired -= 1
        if self._acquired > 0:
            return True
        super().release()
        return None
