"""redlock-ng from PyPI, its blocking client."""

from redlock import Redlock

from peer import measure, nodes

redlock = Redlock(nodes())


def pair():
    lock = redlock.acquire("bench/q/0000", 30000)
    if lock is None:
        return False
    redlock.release(lock)
    return True


measure("redlock-ng 2.0.4 (Python)", pair)
