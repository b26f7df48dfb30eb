"""Distributed locks over N independent Redis masters (Redlock), on libredlock.

A lock is a lease: it lasts for its ``ttl`` unless it is extended, and is usable until a moment that the library computes.
Times are seconds, as ``float`` or ``timedelta``. One :class:`Client` per process is enough for any number of locks and
threads.
"""

from ._aio import AsyncClient, AsyncLock
from ._client import Client, Inspection, Lock, NodeInspection, RLock
from ._errors import (
    CancelledError,
    ClosedError,
    ConfigError,
    ForkedError,
    InternalError,
    InvalidError,
    LockLostError,
    NodeOutcome,
    NoQuorumError,
    NotAcquiredError,
    RedlockError,
    UnknownOutcomeError,
)
from ._native import version

__all__ = [
    "AsyncClient",
    "AsyncLock",
    "CancelledError",
    "Client",
    "ClosedError",
    "ConfigError",
    "ForkedError",
    "Inspection",
    "InternalError",
    "InvalidError",
    "Lock",
    "LockLostError",
    "NoQuorumError",
    "NodeInspection",
    "NodeOutcome",
    "NotAcquiredError",
    "RLock",
    "RedlockError",
    "UnknownOutcomeError",
    "version",
]
