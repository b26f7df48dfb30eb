"""redlock 1.2.0 from PyPI, with its factory, so that connections are kept."""

from redlock import RedLockFactory

from peer import measure, nodes

factory = RedLockFactory([{"url": url} for url in nodes()])


def pair():
    lock = factory.create_lock("bench/p/0000", ttl=30000)
    if not lock.acquire():
        return False
    lock.release()
    return True


measure("redlock 1.2.0 (Python)", pair)
