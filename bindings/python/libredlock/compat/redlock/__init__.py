"""The interface of the package redlock 1.2.0 on libredlock: ``from libredlock.compat.redlock import RedLock``.

Locks exclude those of the original on the same servers. What differs: a minority of dead or hung nodes costs nothing;
a lock is not waited for longer than ``(retry_times - 1) * retry_delay`` and taken as soon as it is free; there are
timeouts (0.1 s for a node, 0.5 s for a connection, unless ``socket_timeout`` and ``socket_connect_timeout`` say
otherwise); what is wrong with the nodes is raised as ``RedLockError``; a re-entrant lock whose TTL has passed is taken
again, or not, instead of being believed.
"""

from .lock import (
    CLOCK_DRIFT_FACTOR,
    DEFAULT_RETRY_DELAY,
    DEFAULT_RETRY_TIMES,
    DEFAULT_TTL,
    RedLock,
    RedLockError,
    RedLockFactory,
    ReentrantRedLock,
)

#: The version of the interface.
__VERSION__ = "1.2.0"

__all__ = [
    "CLOCK_DRIFT_FACTOR",
    "DEFAULT_RETRY_DELAY",
    "DEFAULT_RETRY_TIMES",
    "DEFAULT_TTL",
    "RedLock",
    "RedLockError",
    "RedLockFactory",
    "ReentrantRedLock",
]
