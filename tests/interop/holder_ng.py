"""redlock-ng, as a program that `run` talks to. Arguments: the URLs of the nodes."""

import sys

from redlock import Redlock, RedlockConfig

import holder_common

# The default of 0.1 s is little for five servers and three clients on a machine with two cores.
redlock = Redlock(RedlockConfig(masters=sys.argv[1:], socket_timeout=1.0), retry_count=0)
taken = None


def lock(resource, ttl_ms):
    global taken
    got = redlock.acquire(resource, ttl_ms)
    taken = got or taken
    return got is not None


def unlock():
    if taken is not None:
        redlock.release(taken)


# A refused attempt sleeps after its last try as well; there is nothing to wait for with no retries.
redlock.retry_delay_min = redlock.retry_delay_max = 0
holder_common.serve(lock, unlock)
