"""redlock 1.2.0, as a program that `run` talks to. Arguments: the URLs of the nodes."""

import sys

from redlock import RedLockFactory

import holder_common

factory = RedLockFactory([{"url": url} for url in sys.argv[1:]])
taken = None


def lock(resource, ttl_ms):
    global taken
    attempt = factory.create_lock(resource, retry_times=1, retry_delay=0, ttl=ttl_ms)
    held = attempt.acquire()
    taken = attempt if held else taken
    return held


def unlock():
    if taken is not None:
        taken.release()


holder_common.serve(lock, unlock)
