"""Clients and locks for threads."""

from __future__ import annotations

import functools
import os
import threading
import time
from ctypes import byref, c_char_p
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Any, Callable, Dict, List, NoReturn, Optional, Sequence, Type, TypeVar, Union

from . import _native as native
from ._errors import ClosedError, ForkedError, InvalidError, LockLostError, NotAcquiredError, RedlockError, from_native

Seconds = Union[float, timedelta]
Name = Union[str, bytes]
Function = TypeVar("Function", bound=Callable[..., Any])

#: A wait is a series of calls of at most so many seconds: a signal that Python noted just before a call is handled then.
_SLICE = 1.0
_FOREVER_MS = -1
#: How long closing waits for nodes to confirm releases.
_CLOSE_SECONDS = 1.0


def milliseconds(value: Seconds) -> int:
    """A time as the C functions count it."""
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if not 0 <= seconds < 1e12:
        raise InvalidError(f"{value!r} is no time to wait or to live")
    return round(seconds * 1000)


def as_bytes(name: Name) -> bytes:
    """Names are text or bytes; text is UTF-8."""
    return name.encode() if isinstance(name, str) else bytes(name)


@dataclass(frozen=True)
class NodeInspection:
    """What one node said about a lock."""

    url: str
    outcome: int
    text: str
    token: Optional[bytes]
    #: Seconds; None where there is no key or it never expires.
    remaining: Optional[float]


@dataclass(frozen=True)
class Inspection:
    """Who holds a lock, as the nodes say. Never act on it in place of a lock."""

    held: bool
    token: Optional[bytes]
    #: Seconds for which a quorum keeps the token; None: no expiry, or no key.
    remaining: Optional[float]
    node_count_held: int
    nodes: List[NodeInspection]


class Request:
    """A C request that is freed with its object."""

    def __init__(
        self,
        name: bytes,
        ttl_ms: int,
        *,
        fence: bool = False,
        auto_extend: bool = False,
        max_hold_ms: int = 0,
        token: Optional[bytes] = None,
        retries: Optional[int] = None,
    ) -> None:
        lib = native.lib
        self.has_retries = retries is not None
        self._check(native.OK if name else native.E_INVALID, "the name is empty")
        self._check(native.OK if ttl_ms else native.E_INVALID, "ttl is below a millisecond")
        self.pointer = lib.redlock_request_new()
        self._check(lib.redlock_request_set_resource_bytes(self.pointer, name, len(name)), "the name is empty")
        self._check(lib.redlock_request_set_ttl_ms(self.pointer, ttl_ms), f"ttl is {ttl_ms} ms")
        self._check(lib.redlock_request_set_fence(self.pointer, fence), "fence")
        self._check(lib.redlock_request_set_auto_extend(self.pointer, auto_extend), "auto_extend")
        self._check(lib.redlock_request_set_max_hold_ms(self.pointer, max_hold_ms), "max_hold")
        if token is not None:
            self._check(lib.redlock_request_set_token_bytes(self.pointer, token, len(token)), "the token is empty")
        if retries is not None:
            self._check(lib.redlock_request_set_retries(self.pointer, retries), f"retries is {retries}")

    @staticmethod
    def _check(status: int, message: str) -> None:
        if status != native.OK:
            raise InvalidError(f"invalid argument: {message}")

    def __del__(self) -> None:
        pointer, self.pointer = getattr(self, "pointer", None), None
        native.lib.redlock_request_free(pointer)


class Handle:
    """What sync and async clients share: the C handle, its options, and the process that made it."""

    def __init__(self, urls: Sequence[str], options: Dict[str, Any]) -> None:
        self._urls = [urls] if isinstance(urls, str) else list(urls)
        self._options = options
        self._lock = threading.Lock()
        self._pid = 0
        self._pointer: Any = None
        self._is_closed = False
        self._open()

    def _open(self) -> None:
        lib = native.lib
        options = lib.redlock_options_new()
        try:
            for name, value in self._options.items():
                kind = native.OPTIONS.get(name)
                if kind is None:
                    raise TypeError(f"there is no option {name!r}")
                if isinstance(value, (str, os.PathLike)):
                    value = os.fspath(value).encode()
                try:
                    status = getattr(lib, f"redlock_options_set_{name}")(options, kind(value) if kind is not c_char_p else value)
                except TypeError as wrong:
                    raise InvalidError(f"option {name}: {wrong}") from None
                if status != native.OK:
                    raise InvalidError(f"invalid argument: {name} is {value!r}")
            urls = (c_char_p * len(self._urls))(*[url.encode() for url in self._urls])
            pointer, error = native.out(), native.out()
            status = lib.redlock_new(urls, len(self._urls), options, byref(pointer), byref(error))
            if status != native.OK:
                raise from_native(status, error.value)
        finally:
            lib.redlock_options_free(options)
        self._pointer, self._pid = pointer.value, os.getpid()

    @property
    def pointer(self) -> Any:
        """The C handle. In a forked child a new one, made when it is first asked for."""
        if self._pid != os.getpid():
            with self._lock:
                if self._pid != os.getpid():
                    native.lib.redlock_free(self._pointer)
                    self._open()
        if self._is_closed:
            raise ClosedError("handle is closed")
        return self._pointer

    def close(self, release: bool = False, timeout: Seconds = _CLOSE_SECONDS) -> None:
        """Ends what is in progress. ``release``: releases the locks that are held, else they stay until their TTL ends."""
        if self._is_closed:
            return
        pointer, self._is_closed = self.pointer, True
        native.lib.redlock_close(pointer, release, milliseconds(timeout), None)

    def __del__(self) -> None:
        pointer, self._pointer = getattr(self, "_pointer", None), None
        native.lib.redlock_free(pointer)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a client is connections of this process: make one where it is needed")


class Client:
    """N independent Redis masters, seen as one place to take locks.

    All methods may be called from any thread. After a fork the child's first use makes connections of its own.

    :param urls: 1 to 15 of ``redis://[user:password@]host[:port][/db]``, ``rediss://...``, ``unix:///path``. All clients
        use the same list.
    :param options: those of ``redlock_options_set_...`` in redlock.h, by their names without that, times in milliseconds
        as they say: ``node_timeout_ms`` (100), ``connect_timeout_ms`` (500), ``password``, ``tls_ca_file`` ...
    :raises ConfigError: a malformed URL. Nodes that cannot be reached are no error here: see :meth:`wait_ready`.
    :raises InvalidError: no URLs, or an option out of its range.
    :raises TypeError: there is no such option.
    """

    def __init__(self, urls: Sequence[str], **options: Any) -> None:
        self._handle = Handle(urls, options)

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
    ) -> Lock:
        """A lock that is not taken yet.

        :param ttl: how long it lasts unless it is extended, in seconds.
        :param wait: how long ``with`` waits for another holder, in seconds; None: without limit.
        :param fence: a fencing token comes with it.
        :param auto_extend: it extends itself while it is held.
        :param max_hold: but no longer than this, in seconds; 0: without limit.
        """
        request = Request(
            as_bytes(name),
            milliseconds(ttl),
            fence=fence,
            auto_extend=auto_extend,
            max_hold_ms=milliseconds(max_hold),
            retries=retries,
        )
        return Lock(self._handle, name, request, ttl, wait)

    def rlock(self, name: Name, *, ttl: Seconds, wait: Optional[Seconds] = None, **options: Any) -> RLock:
        """A lock that the thread which holds it may take again."""
        return RLock(self.lock(name, ttl=ttl, wait=wait, **options))

    def locked(self, name: Name, *, ttl: Seconds, **options: Any) -> Callable[[Function], Function]:
        """A decorator: the function runs while the lock is held."""

        def decorate(function: Function) -> Function:
            @functools.wraps(function)
            def guarded(*arguments: Any, **named: Any) -> Any:
                with self.lock(name, ttl=ttl, **options):
                    return function(*arguments, **named)

            return guarded  # type: ignore[return-value]

        return decorate

    def wait_ready(self, timeout: Seconds = 5.0) -> None:
        """Waits until a quorum of nodes is connected.

        :param timeout: seconds; 0 only looks.
        :raises NoQuorumError: the time is over.
        :raises ConfigError: too many nodes fail permanently for a quorum to be left.
        """
        error = native.out()
        status = native.lib.redlock_wait_ready_cancellable(
            self._handle.pointer, milliseconds(timeout), None, byref(error)
        )
        if status != native.OK:
            raise from_native(status, error.value)

    def unlock(self, name: Name, token: Union[str, bytes]) -> None:
        """Releases a lock by its token, also in another process than its holder's.

        :raises LockLostError: it was not this token's.
        """
        key, mine, error = as_bytes(name), as_bytes(token), native.out()
        status = native.lib.redlock_unlock_token_bytes(
            self._handle.pointer, key, len(key), mine, len(mine), byref(error)
        )
        if status != native.OK:
            raise from_native(status, error.value)

    def extend(self, name: Name, token: Union[str, bytes], ttl: Seconds) -> None:
        """Makes a lock last ``ttl`` from now on, by its token; it is never shortened.

        :param ttl: seconds, at least a millisecond.
        :raises LockLostError: it was not this token's.
        """
        key, mine, error = as_bytes(name), as_bytes(token), native.out()
        status = native.lib.redlock_extend_token_bytes(
            self._handle.pointer, key, len(key), mine, len(mine), milliseconds(ttl), byref(error)
        )
        if status != native.OK:
            raise from_native(status, error.value)

    def inspect(self, name: Name) -> Inspection:
        """Asks all nodes who holds a lock, and changes nothing.

        :raises NoQuorumError: too few nodes answered.
        """
        lib, key = native.lib, as_bytes(name)
        found, error = native.out(), native.out()
        status = lib.redlock_inspect_bytes(self._handle.pointer, key, len(key), byref(found), byref(error))
        if status != native.OK:
            raise from_native(status, error.value)
        try:
            nodes = []
            for node in range(lib.redlock_inspection_node_count(found)):
                token = native.sized(lib.redlock_inspection_node_token, found, node)
                left_ms = lib.redlock_inspection_node_remaining_ms(found, node)
                nodes.append(
                    NodeInspection(
                        url=lib.redlock_inspection_node_url(found, node).decode(),
                        outcome=lib.redlock_inspection_node_outcome(found, node),
                        text=lib.redlock_inspection_node_text(found, node).decode(errors="replace"),
                        token=token,
                        remaining=left_ms / 1000 if token is not None and left_ms >= 0 else None,
                    )
                )
            token, left_ms = native.sized(lib.redlock_inspection_token, found), lib.redlock_inspection_remaining_ms(found)
            return Inspection(
                held=bool(lib.redlock_inspection_is_held(found)),
                token=token,
                remaining=left_ms / 1000 if token is not None and left_ms >= 0 else None,
                node_count_held=lib.redlock_inspection_node_count_held(found),
                nodes=nodes,
            )
        finally:
            lib.redlock_inspection_free(found)

    def stats(self) -> Dict[str, int]:
        """The counters of this client since it was made: attempts, acquired, contended, no_quorum, released, extended,
        lost."""
        lib, copied, error = native.lib, native.out(), native.out()
        status = lib.redlock_stats(self._handle.pointer, byref(copied), byref(error))
        if status != native.OK:
            raise from_native(status, error.value)
        try:
            names = ("attempts", "acquired", "contended", "no_quorum", "released", "extended", "lost")
            return {name: getattr(lib, f"redlock_stats_{name}")(copied) for name in names}
        finally:
            lib.redlock_stats_free(copied)

    def close(self, *, release: bool = False, timeout: Seconds = _CLOSE_SECONDS) -> None:
        """Ends waits in progress and the connections. ``release``: releases the locks that are held."""
        self._handle.close(release, timeout)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Lease:
    """A C lease that is freed with its object; it is not released by that."""

    def __init__(self, handle: Handle, pointer: int) -> None:
        self._handle = handle  # Lives as long as its leases.
        self._pid = os.getpid()
        self.pointer: Optional[int] = pointer

    def use(self) -> int:
        """The C lease, for a call."""
        if self._pid != os.getpid():
            raise ForkedError("the lock belongs to the parent process")
        if self.pointer is None:
            raise LockLostError("the lock is not held")
        return self.pointer

    @property
    def is_foreign(self) -> bool:
        return self._pid != os.getpid()

    def __del__(self) -> None:
        pointer, self.pointer = getattr(self, "pointer", None), None
        native.lib.redlock_lease_free(pointer)


class Lock:
    """One lock of one holder, like :class:`threading.Lock`; made by :meth:`Client.lock`. It may be taken again once it was
    released. Not re-entrant."""

    def __init__(self, handle: Handle, name: Name, request: Request, ttl: Seconds, wait: Optional[Seconds]) -> None:
        self.name = name
        self._handle = handle
        self._request = request
        self._ttl = ttl
        self._wait = wait
        self._wait_ms = 0
        self._busy = threading.Lock()
        self._lease: Optional[Lease] = None

    def acquire(self, blocking: bool = True, timeout: Seconds = -1) -> bool:
        """Takes the lock. False if somebody else held it to the end; every other failure is an exception.

        :param timeout: how long to wait, in seconds; -1: without limit. Not blocking: one attempt.
        """
        if timeout != -1 and not blocking:
            raise ValueError("can't specify a timeout for a non-blocking call")
        wait = None if timeout == -1 else timeout
        try:
            self.take(wait if blocking else 0)
        except NotAcquiredError:
            return False
        return True

    def take(self, wait: Optional[Seconds] = None) -> None:
        """Takes the lock, or says why not.

        :param wait: how long to wait for another holder, in seconds; None: without limit.
        :raises NotAcquiredError: somebody else held it to the end.
        """
        deadline = None if wait is None else time.monotonic() + milliseconds(wait) / 1000
        lib = native.lib
        with self._busy:
            if self._lease is not None and not self._lease.is_foreign and self.locked():
                raise RuntimeError("this lock object is held already: use a second one, or an RLock")
            while True:
                begun = time.monotonic()
                left = _SLICE if deadline is None else max(0.0, min(_SLICE, deadline - begun))
                wait_ms = round(left * 1000)
                if wait_ms != self._wait_ms:
                    lib.redlock_request_set_wait_ms(self._request.pointer, wait_ms)
                    self._wait_ms = wait_ms
                pointer, error = native.out(), native.out()
                try:
                    status = lib.redlock_lock_request(
                        self._handle.pointer, self._request.pointer, byref(pointer), byref(error)
                    )
                finally:
                    # An exception from a signal handler may strike before the next line.
                    if pointer.value:
                        self._lease = Lease(self._handle, pointer.value)
                if status == native.OK:
                    return
                failure = from_native(status, error.value)
                now = time.monotonic()
                # Its attempts were used up before the time was.
                is_given_up = self._request.has_retries and now < begun + left
                is_over = is_given_up or (deadline is not None and now >= deadline)
                if status == native.E_INTERRUPTED or (status == native.E_NOT_ACQUIRED and not is_over):
                    continue
                raise failure

    def release(self) -> None:
        """Releases the lock.

        :raises LockLostError: it had ended before; somebody else may have held it meanwhile.
        """
        lease, self._lease = self._lease, None
        if lease is None:
            raise RuntimeError("release of a lock that is not held")
        error = native.out()
        status = native.lib.redlock_unlock(lease.use(), byref(error))
        if status != native.OK:
            raise from_native(status, error.value)

    def extend(self, ttl: Optional[Seconds] = None) -> None:
        """Makes the lock last ``ttl`` from now on (default: the TTL it was made with); it is never shortened.

        :param ttl: seconds, at least a millisecond.
        :raises LockLostError: it is not ours any more. After any other failure it lasts for what ``remaining`` says.
        """
        error = native.out()
        ttl_ms = milliseconds(self._ttl if ttl is None else ttl)
        status = native.lib.redlock_extend(self._held(), ttl_ms, byref(error))
        if status != native.OK:
            raise from_native(status, error.value)

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
        """What makes the lock ours, for :meth:`Client.unlock` in another process."""
        return native.sized(native.lib.redlock_lease_token, self._held()) or b""

    @property
    def fence(self) -> Optional[int]:
        """The fencing token: larger than that of every earlier holder. None where none was asked for."""
        return native.lib.redlock_lease_fence(self._held()) or None

    def ensure_held(self) -> None:
        """To be called before each step of long work.

        :raises LockLostError: the lock is not ours any more.
        """
        if not self.locked():
            raise LockLostError(f"the lock {self.name!r} is lost")

    @property
    def lost(self) -> Lost:
        """The loss of the lock, as an event: ``lock.lost.wait(timeout)``, ``lock.lost.is_set()``."""
        return Lost(self)

    def wait_lost(self, timeout: Optional[Seconds] = None) -> bool:
        """Waits until the lock is lost, at most ``timeout`` seconds. True if it is."""
        deadline = None if timeout is None else time.monotonic() + milliseconds(timeout) / 1000
        pointer = self._held()
        while True:
            left = _SLICE if deadline is None else max(0.0, min(_SLICE, deadline - time.monotonic()))
            status = native.lib.redlock_lease_wait_lost_cancellable(pointer, round(left * 1000), None)
            if status == native.E_LOST:
                return True
            if status not in (native.OK, native.E_INTERRUPTED):
                raise from_native(status, None)
            if deadline is not None and time.monotonic() >= deadline:
                return False

    def __enter__(self) -> Lock:
        self.take(self._wait)
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        try:
            self.release()
        except RedlockError:
            # What the body failed of matters more.
            if error is None:
                raise

    def __reduce__(self) -> NoReturn:
        raise TypeError("a lock is held by this process: pass its name and token on")


class Lost:
    """When a lock is lost, with the interface of :class:`threading.Event` as far as it is for those who wait."""

    def __init__(self, lock: Lock) -> None:
        self._lock = lock

    def is_set(self) -> bool:
        """Whether the lock is not held by its object now."""
        return not self._lock.locked()

    def wait(self, timeout: Optional[Seconds] = None) -> bool:
        """Waits until the lock is lost, at most ``timeout`` seconds; None: without limit. True if it is.

        :raises LockLostError: it is not held at all.
        """
        return self._lock.wait_lost(timeout)


class RLock:
    """A lock that the thread which holds it may take again, like :class:`threading.RLock`."""

    def __init__(self, lock: Lock) -> None:
        self._lock = lock
        self._inner = threading.RLock()
        self._count = 0

    def acquire(self, blocking: bool = True, timeout: Seconds = -1) -> bool:
        """Takes the lock, or takes it once more. A lock that was lost meanwhile is no longer held: LockLostError."""
        seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
        if not self._inner.acquire(blocking, seconds):
            return False
        try:
            if self._count > 0:
                self._lock.ensure_held()
            elif not self._lock.acquire(blocking, timeout):
                self._inner.release()
                return False
        except BaseException:
            self._inner.release()
            raise
        self._count += 1
        return True

    def release(self) -> None:
        """Takes one acquisition back; the last one releases the lock."""
        if self._count == 0:
            raise RuntimeError("release of a lock that is not held")
        self._count -= 1
        try:
            if self._count == 0:
                self._lock.release()
        finally:
            self._inner.release()

    @property
    def lock(self) -> Lock:
        """The lock itself, with its token, fence and remaining time."""
        return self._lock

    def __enter__(self) -> RLock:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
