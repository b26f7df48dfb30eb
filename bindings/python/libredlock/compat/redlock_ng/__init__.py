"""The interface of the package redlock-ng 2.0.4 on libredlock: ``from libredlock.compat.redlock_ng import Redlock``.

Locks exclude those of the original on the same servers. What differs: all nodes are asked at once, and a dead or hung
minority costs nothing; a waiter is woken when the lock is free; too few usable nodes are an exception
(:class:`libredlock.NoQuorumError`, :class:`libredlock.ConfigError`) and not "not acquired"; ``extend`` checks the time as
well and updates ``validity``; a lock is ``valid`` only for as long as its TTL allows; ``close`` exists; a list of no
servers is refused; an ``acquire`` that is cancelled leaves no key.
"""

from .client import RedlockConfig
from .lock import AsyncRedlock, Lock, Redlock

__all__ = ["AsyncRedlock", "Lock", "Redlock", "RedlockConfig"]
