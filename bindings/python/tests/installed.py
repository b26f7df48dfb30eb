"""Run with the installed wheel and nothing else: takes a lock of each kind on five servers, of which one is dead."""

import asyncio
import os

from libredlock import AsyncClient, Client
from libredlock.compat.redlock import RedLock
from libredlock.compat.redlock_ng import Redlock

urls = os.environ["REDLOCK_NODES"].split(",")
with Client(urls) as client:
    with client.lock("installed", ttl=10, wait=5, fence=True) as lock:
        assert lock.locked() and lock.fence
        assert not client.lock("installed", ttl=10).acquire(blocking=False)


async def work():
    async with AsyncClient(urls) as client:
        async with client.lock("installed", ttl=10, wait=5) as lock:
            assert lock.locked()


asyncio.run(work())
with RedLock("installed", [{"url": url} for url in urls]):
    assert not RedLock("installed", [{"url": url} for url in urls], retry_times=1).acquire()
with Redlock(urls) as manager, manager.lock("installed", ttl=10_000) as held:
    assert held.valid
